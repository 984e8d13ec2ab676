"""A recorded history of counts, made into a trace and measurements of the application. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isinf
from random import Random

from autoscaler.simulation.measured import Measured, Usage
from autoscaler.simulation.rebuild import Count, sessions_of
from autoscaler.simulation.trace import MAX_SESSIONS, Trace, trace_of
from autoscaler.units import duration_text

# Value by time in Unix seconds, in the order of time.
Series = Mapping[float, float]
# A longer time without counts, in steps, is told.
MISSING_STEPS = 5
# The share of scale-ups that are faster than the lead time.
LEAD_TIME_QUANTILE = 0.95
LONGEST_LEAD_TIME = 3_600.0
# Sessions of which the length is known, from which on the lengths are used.
FEW = 20
# Sessions that are longer than the largest bucket are at most this many times as long.
TAIL = 2.0


@dataclass(frozen=True)
class History:
    """What was recorded of a Deployment. Series are empty if nothing was.

    start, end: of the time that was asked for. step: seconds between the points of `sessions`,
    `arrival_rate`, `desired` and `ready`. arrival_rate: sessions per second. desired, ready:
    replicas. fullest: sessions of the pod with the most. mean_*: of the pods, CPU in cores and
    memory in bytes. lengths: how many sessions ended within so many seconds.
    """

    start: float
    end: float
    step: float
    sessions: Series
    arrival_rate: Series
    desired: Series
    ready: Series
    fullest: Series
    mean_sessions: Series
    mean_cpu: Series
    mean_memory: Series
    lengths: Mapping[float, float]


def trace_of_history(name: str, history: History, seed: int) -> Trace:
    """Return sessions of which as many are there at each time as were recorded.

    seed: of the lengths, which are drawn from the recorded ones. Raises ValueError if there were
    no sessions or too many.
    """
    counts = list(_counts(history))
    came = counts[0].sessions + sum(count.arrived for count in counts)
    if not 0 < came <= MAX_SESSIONS:
        raise ValueError(f"{came:,} sessions, expected 1 to {MAX_SESSIONS:,}")
    random = Random(seed)  # noqa: S311 - no secret
    draw = LengthTable(history.lengths)
    sessions = sessions_of(
        counts, counts[-1].at + history.step, lambda: draw.length(random.random())
    )
    measured = measured_of(history)
    trace = trace_of(name, sessions, " ".join(_notes(history, measured, draw)))
    # The idle time at both ends belongs to the history.
    end = max(trace.end, counts[-1].at + history.step)
    return Trace(trace.name, trace.sessions, counts[0].at, end, trace.note, measured)


def _counts(history: History) -> Iterator[Count]:
    """Yield the counts, with arrivals that follow the recorded rate as far as the counts allow.

    The rate is an average over a minute. If a rush raised the count before the rate, it has
    arrived already.
    """
    wanted = arrived = 0.0
    before: int | None = None
    for at, value in history.sessions.items():
        present, comes = min(round(value), MAX_SESSIONS + 1), 0
        if before is not None:
            wanted += history.arrival_rate.get(at, 0.0) * history.step
            comes = max(present - before, round(wanted - arrived), 0)
        arrived += comes
        before = present
        yield Count(at, present, comes)


class LengthTable:
    """The lengths of sessions by their quantiles, from the buckets of a histogram."""

    def __init__(self, ended: Mapping[float, float]) -> None:
        bounds = sorted(ended)
        self._bounds = [0.0, *bounds]
        self._shares = [0.0, *(ended[bound] for bound in bounds)]
        total = max(self._shares)
        self.known = total >= FEW
        if self.known:
            self._shares = [share / total for share in self._shares]

    def length(self, share: float) -> float:
        """Return the length that so many sessions do not exceed; 0 if lengths are unknown."""
        if not self.known:
            return 0.0
        index = min(max(1, bisect_left(self._shares, share)), len(self._bounds) - 1)
        low, high = self._bounds[index - 1 : index + 1]
        if isinf(high):
            high = TAIL * low
        within = self._shares[index] - self._shares[index - 1]
        return low + (high - low) * (share - self._shares[index - 1]) / within if within else high


def measured_of(history: History) -> Measured:
    """Return what a history shows of the application."""
    usage = Usage()
    for at, sessions in history.mean_sessions.items():
        usage.add(sessions, (history.mean_cpu.get(at), history.mean_memory.get(at)))
    use = usage.measured()
    times = sorted(lead_times(history))
    fullest = max(history.fullest.values(), default=0)
    return Measured(
        lead_time=times[int(LEAD_TIME_QUANTILE * (len(times) - 1) + 0.5)] if times else None,
        seats=round(fullest) or None,
        cpu_per_session=use.cpu_per_session,
        memory_per_session=use.memory_per_session,
    )


def lead_times(history: History) -> Iterator[float]:
    """Yield the seconds from each scale-up until so many replicas were ready.

    Left out are scale-ups that were reverted before, those while earlier ones were still starting,
    and those that needed no new pod, because a cordoned one was still there.
    """
    waiting: tuple[float, float] | None = None
    for (earlier, before), (at, desired) in pairwise(history.desired.items()):
        ready, ready_before = history.ready.get(at), history.ready.get(earlier)
        if ready is None or ready_before is None:
            continue
        if waiting is None and before <= ready_before < desired:
            waiting = (at, desired)
        if waiting is None:
            continue
        began, wanted = waiting
        if desired < wanted or at - began > LONGEST_LEAD_TIME:
            waiting = None
        elif ready >= wanted:
            waiting = None
            yield max(at - began, history.step)


def _notes(history: History, measured: Measured, draw: LengthTable) -> Iterator[str]:
    """Yield what was rebuilt, what was measured, and what could not be known."""
    step = duration_text(history.step)
    yield (
        f"Rebuilt from counts of every {step}: as many sessions are there at each time as were"
        " recorded, but who came and left in between, and users who were refused, are unknown."
    )
    if not history.arrival_rate:
        yield "Arrivals are unknown (no bokeh_sessions_created_total): only increases are counted."
    if draw.known:
        yield "Lengths are drawn from the recorded histogram, so they are not those of real users."
    else:
        yield "Lengths are unknown (no bokeh_session_duration_seconds): first in, first out."
    if missing := _missing(history):
        yield f"There are no counts for {duration_text(missing)} after the first one."
    if late := _late(history):
        yield f"There are no counts for the first {duration_text(late)}; check the retention."
    known, unknown = _measurements(measured)
    if known:
        yield f"Measured: {', '.join(known)}."
    if unknown:
        yield f"Not measured, so assumed: {', '.join(unknown)}."


def _measurements(measured: Measured) -> tuple[list[str], list[str]]:
    """Return what was measured with its unit, and what was not with the reason."""
    cpu, memory = measured.cpu_per_session, measured.memory_per_session
    lead_time, seats = measured.lead_time, measured.seats
    found = {
        "lead time (no scale-up in bokeh_autoscaler_replicas)": lead_time is not None
        and f"a lead time of {duration_text(lead_time)}",
        "seats (no bokeh_sessions of pods)": seats and f"{seats} sessions in the fullest pod",
        "CPU (bokeh_cpu_seconds_total shows none)": cpu and f"{cpu:g} cores per session",
        "memory (bokeh_memory_working_set_bytes shows none)": memory
        and f"{memory:g} MB per session",
    }
    known = [text for text in found.values() if text]
    return known, [lack for lack, text in found.items() if not text]


def _missing(history: History) -> float:
    """Return the seconds without counts after the first one."""
    gaps = (later - at for at, later in pairwise([*history.sessions, history.end]))
    return sum(gap - history.step for gap in gaps if gap > MISSING_STEPS * history.step)


def _late(history: History) -> float:
    """Return the seconds from the beginning to the first count, or 0 if they are few."""
    late = next(iter(history.sessions)) - history.start
    return late if late > MISSING_STEPS * history.step else 0.0
