"""A journal made into a trace: the sessions that each pass counted, and what was measured. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from statistics import median

from autoscaler.core.journal import Entry
from autoscaler.model import PodState
from autoscaler.simulation.history import History, measured_of
from autoscaler.simulation.rebuild import Count, sessions_of
from autoscaler.simulation.trace import MAX_SESSIONS, Trace, trace_of
from autoscaler.units import duration_text

NOTE = (
    "Rebuilt from the counts of a journal: each increase is read as arrivals and each decrease as"
    " departures of those who came first. Sessions that came and left between two scrapes, and"
    " users who were refused, are unknown."
)
# A longer time without a decision is told, in seconds.
LONG_GAP = 300.0


class Recording:
    """Collects what the entries of one target say, in the order of their times."""

    def __init__(self) -> None:
        self.sessions: dict[float, float] = {}
        self._desired: dict[float, float] = {}
        self._ready: dict[float, float] = {}
        self._fullest: dict[float, float] = {}
        self._means: tuple[dict[float, float], ...] = ({}, {}, {})
        self._known: dict[str, int] = {}

    def add(self, entry: Entry) -> None:
        """Add an entry. After a clock was set back, entries count from the last time on."""
        at, pods = entry.at, entry.observed.pods
        if self.sessions and at <= next(reversed(self.sessions)):
            return
        self._known = {pod.uid: self._count(pod) for pod in pods}
        self.sessions[at] = sum(self._known.values())
        self._desired[at] = entry.decision.desired
        self._ready[at] = sum(pod.serving for pod in pods)
        self._fullest[at] = max(self._known.values(), default=0)
        for series, values in zip(self._means, _usage(pods), strict=True):
            if values:
                series[at] = sum(values) / len(values)

    def _count(self, pod: PodState) -> int:
        """Return the sessions of a pod; of one that says nothing, those that it had."""
        if pod.occupancy is not None:
            return pod.occupancy.live
        return self._known.get(pod.uid, 0) if pod.sessions is None else pod.sessions.value

    def trace(self, name: str) -> Trace:
        """Return the sessions. Raises ValueError if there were none or too many."""
        counts = [Count(at, round(sessions)) for at, sessions in self.sessions.items()]
        came = sum(max(0, then.sessions - before.sessions) for before, then in pairwise(counts))
        came += counts[0].sessions if counts else 0
        if not 0 < came <= MAX_SESSIONS:
            raise ValueError(f"{came:,} sessions, expected 1 to {MAX_SESSIONS:,}")
        step = median([then.at - before.at for before, then in pairwise(counts)] or [1.0])
        end = counts[-1].at + step
        trace = trace_of(name, sessions_of(counts, end), " ".join(self._notes()))
        measured = measured_of(self._history(step))
        return Trace(name, trace.sessions, counts[0].at, end, trace.note, measured)

    def _history(self, step: float) -> History:
        times = [*self.sessions]
        mean_sessions, mean_cpu, mean_memory = self._means
        return History(
            start=times[0],
            end=times[-1],
            step=step,
            sessions=self.sessions,
            arrival_rate={},
            desired=self._desired,
            ready=self._ready,
            fullest=self._fullest,
            mean_sessions=mean_sessions,
            mean_cpu=mean_cpu,
            mean_memory=mean_memory,
            lengths={},
        )

    def _notes(self) -> Iterator[str]:
        yield NOTE
        gaps = [then - at for at, then in pairwise(self.sessions) if then - at > LONG_GAP]
        if gaps:
            times = "time" if len(gaps) == 1 else "times"
            yield (
                f"It has no decisions for {duration_text(round(sum(gaps)))} ({len(gaps)} {times});"
                " sessions are spread evenly over that."
            )


def _usage(pods: Iterable[PodState]) -> tuple[list[float], list[float], list[float]]:
    """Return the sessions, cores and bytes of the pods that tell all or some of them."""
    told = [pod for pod in pods if pod.sessions is not None and pod.serving]
    return (
        [pod.sessions.value for pod in told if pod.sessions is not None],
        [pod.cpu.value / 1000 for pod in told if pod.cpu is not None],
        [pod.memory.value / 1000 for pod in told if pod.memory is not None],
    )
