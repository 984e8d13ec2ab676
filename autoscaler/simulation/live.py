"""What Prometheus has of a live target, made into a timeline, costs and reasons. Pure.

The timeline is that of a simulation, so that the same plots draw both.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import nan
from typing import NamedTuple

from autoscaler.model import Cause, Reason
from autoscaler.simulation.history import Series
from autoscaler.simulation.timeline import Change, Phase, PodLife, StepRecorder, Steps, Timeline

# Series by the values of their labels.
ByLabels = Mapping[tuple[str, ...], Series]
# What a replica is doing while it is cordoned for other causes than to be deleted.
STAYING = {Cause.FULL.value: Phase.BUSY, Cause.RESERVE.value: Phase.RESERVE}
MEANINGS = {each.value: each.meaning for each in Reason}
# Where no reason was recorded beside a change.
UNKNOWN = "no reason was recorded"
# A counter may be scraped so many steps before or after the gauge that changed with it.
BESIDE = 2
# Bounds of the costs by their names in `bokeh_autoscaler_cost_replicas`.
BILLED, STICKY, FLUID = "billed", "sticky_bound", "fluid_bound"
HOUR = 3_600.0


@dataclass(frozen=True)
class Recorded:
    """What was recorded of a Deployment. Empty where nothing was.

    start, end, step: of all series, in seconds. sessions: by pod. cordons: by pod and cause.
    replicas, costs: by kind. decisions: how many a daemon has made, by direction and reason. held:
    passes in which it held a scale-down, by reason; both also by what else tells daemons apart.
    price: of a replica-hour, if the daemon tells it.
    """

    start: int
    end: int
    step: int
    sessions: ByLabels
    cordons: ByLabels
    replicas: ByLabels
    costs: ByLabels
    decisions: ByLabels
    held: ByLabels
    price: float | None = None

    @property
    def times(self) -> range:
        """The time of each point."""
        return range(self.start, self.end + 1, self.step)


class Told(NamedTuple):
    """A decision to change the replicas as the daemon told it, with its reason in words."""

    at: float
    before: int
    after: int
    reason: str
    detail: str


class Held(NamedTuple):
    """How often a scale-down was held for a reason, and when it last was."""

    reason: str
    passes: int
    last: float


class Costs(NamedTuple):
    """Replica-hours of the times at which the bounds were known; hours: how long that was."""

    hours: float
    billed: float
    sticky: float
    fluid: float

    @property
    def regret(self) -> float | None:
        """By how many percent the cost exceeds the sticky bound."""
        return 100.0 * (self.billed / self.sticky - 1.0) if self.sticky else None


def timeline_of(
    recorded: Recorded, seats: int, told: Sequence[Told] = (), timezone: str | None = None
) -> Timeline:
    """Return the course of a target. Times without data are gaps (NaN).

    seats: of a pod; 0 if nobody knows. told: decisions that were heard of, for their words.
    """
    lives = tuple(_lives(recorded))
    kinds = {kind: series for (kind,), series in recorded.replicas.items()}
    billed = recorded.costs.get((BILLED,), {})
    return Timeline(
        start=recorded.start,
        end=recorded.end,
        seats=seats,
        sessions=_steps(_sums(recorded), recorded),
        ready=_steps(kinds.get("ready", {}), recorded),
        billed=_steps(billed or kinds.get("current", {}), recorded),
        desired=_steps(kinds.get("desired", {}), recorded),
        changes=tuple(_changes(recorded, told)),
        timezone=timezone,
        phases=_phases(lives, recorded),
        lives=lives,
    )


def holds_of(recorded: Recorded) -> list[Held]:
    """Return what held scale-downs, the most frequent reason first."""
    found: dict[str, Held] = {}
    for (reason, *_), series in recorded.held.items():
        for at, count in _events(series, recorded):
            last = found.get(reason, Held(reason, 0, at))
            found[reason] = Held(reason, last.passes + round(count), max(last.last, at))
    return sorted(found.values(), key=lambda held: -held.passes)


def costs_of(recorded: Recorded) -> Costs | None:
    """Return the cost and its bounds; None if nobody knows the bounds."""
    billed, sticky, fluid = (recorded.costs.get((kind,), {}) for kind in (BILLED, STICKY, FLUID))
    known = [at for at in billed if at in sticky and at in fluid]
    if not known:
        return None
    share = recorded.step / HOUR
    sums = (share * sum(series[at] for at in known) for series in (billed, sticky, fluid))
    return Costs(share * len(known), *sums)


def cost_steps(recorded: Recorded, kind: str) -> Steps:
    """Return the replicas that are billed, or that a bound needs."""
    return _steps(recorded.costs.get((kind,), {}), recorded)


def _sums(recorded: Recorded) -> Series:
    """Return the sessions of all pods at each time that has data."""
    totals: dict[float, float] = {}
    for series in recorded.sessions.values():
        for at, value in series.items():
            totals[at] = totals.get(at, 0.0) + value
    return dict(sorted(totals.items()))


def _steps(series: Series, recorded: Recorded) -> Steps:
    recorder, is_known = StepRecorder(), True
    for at in recorded.times:
        if at in series:
            recorder.set(at, series[at])
        elif is_known:
            recorder.set(at, nan)
        is_known = at in series
    return recorder.steps()


def _lives(recorded: Recorded) -> Iterator[PodLife]:
    """Yield the life of each pod of which there is data, the first one first."""
    cordons: dict[str, list[tuple[str, Series]]] = {}
    for (pod, cause), series in recorded.cordons.items():
        cordons.setdefault(pod, []).append((cause, series))
    seen = [(min(series), pod, series) for (pod,), series in recorded.sessions.items() if series]
    for number, (_, pod, series) in enumerate(sorted(seen, key=lambda each: each[:2])):
        phases: list[tuple[float, Phase]] = []
        for at, sessions in series.items():
            phase = _phase(sessions, _cause(cordons.get(pod, ()), at))
            if not phases or phases[-1][1] is not phase:
                phases.append((at, phase))
        last = max(series)
        ended_at = last + recorded.step if last < recorded.end else None
        yield PodLife(number, phases, ended_at, served=round(max(series.values())), pod=pod)


def _cause(cordons: Iterable[tuple[str, Series]], at: float) -> str | None:
    return next((cause for cause, series in cordons if at in series), None)


def _phase(sessions: float, cause: str | None) -> Phase:
    """Return what a pod is doing. A cordon by hand is one to be deleted."""
    if cause is None:
        return Phase.BUSY if sessions else Phase.SPARE
    return STAYING.get(cause, Phase.DRAINING if sessions else Phase.DRAINED)


def _phases(lives: Sequence[PodLife], recorded: Recorded) -> dict[Phase, Steps]:
    """Return how many pods are in each phase, also in those that none is in."""
    moves: dict[Phase, dict[float, int]] = {phase: {recorded.start: 0} for phase in Phase}
    for life in lives:
        ends = [*(at for at, _ in life.phases[1:]), life.ended_at]
        for (since, phase), until in zip(life.phases, ends, strict=True):
            for at, change in ((since, 1), (until, -1)):
                if at is not None:
                    moves[phase][at] = moves[phase].get(at, 0) + change
    return {phase: _summed(found) for phase, found in moves.items()}


def _summed(moves: Mapping[float, int]) -> Steps:
    recorder, count = StepRecorder(), 0
    for at, change in sorted(moves.items()):
        count += change
        recorder.set(at, count)
    return recorder.steps()


def _changes(recorded: Recorded, told: Sequence[Told]) -> Iterator[Change]:
    """Yield each change of the desired replicas, with its reason as far as it was recorded."""
    events = sorted(
        (at, direction, reason)
        for (direction, reason, *_), series in recorded.decisions.items()
        for at, _ in _events(series, recorded)
    )
    desired = recorded.replicas.get(("desired",), {})
    for (_, before), (at, after) in pairwise(desired.items()):
        if before != after:
            reason, detail = _why(at, int(before), int(after), events, recorded.step, told)
            yield Change(at, int(before), int(after), reason, detail)


def _why(
    at: float,
    before: int,
    after: int,
    events: Sequence[tuple[float, str, str]],
    step: int,
    told: Sequence[Told],
) -> tuple[str, str]:
    """Return the reason of a change and its words: those of the daemon, if they were heard."""
    near = BESIDE * step
    same = (each for each in told if (each.before, each.after) == (before, after))
    heard = [each for each in same if abs(each.at - at) <= near]
    if heard:
        best = min(heard, key=lambda each: abs(each.at - at))
        return best.reason, best.detail
    direction = "up" if after > before else "down"
    begin = bisect_left(events, (at - near,))
    beside = [
        (abs(when - at), reason)
        for when, way, reason in events[begin:]
        if way == direction and when <= at + near
    ]
    if not beside:
        return "", UNKNOWN
    _, reason = min(beside)
    return reason, meaning_of(reason)


def meaning_of(reason: str) -> str:
    """Return a reason in words; one of a newer daemon is only named."""
    return MEANINGS.get(reason, reason)


def _events(series: Series, recorded: Recorded) -> Iterator[tuple[float, float]]:
    """Yield when a counter rose, and by how much. It may begin anew, and begins with its first one.

    What it had at the start of the time came before.
    """
    last: float | None = None
    for at, value in series.items():
        if last is None:
            rise = 0.0 if at <= recorded.start else value
        else:
            rise = value - last if value >= last else value
        last = value
        if rise > 0:
            yield at, rise
