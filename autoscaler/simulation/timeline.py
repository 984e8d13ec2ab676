"""The course of a run as step functions: the common input of scores and reports.

Times are Unix seconds. Nothing changes between two events, so integrals over steps are exact and do
not depend on the tick.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Steps(NamedTuple):
    """A step function: values[i] applies from times[i] on, and 0 before. Times ascend."""

    times: tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    @property
    def peak(self) -> float:
        """The highest value; 0 if there is none."""
        return max(self.values, default=0)

    def at(self, when: float) -> float:
        """Return the value at a time."""
        index = bisect_right(self.times, when)
        return self.values[index - 1] if index else 0.0

    def scaled(self, factor: float) -> Steps:
        """Return the steps with every value multiplied by `factor`."""
        return Steps(self.times, tuple(value * factor for value in self.values))

    def thinned(self, limit: int) -> Steps:
        """Return at most `limit` points: the first, lowest, highest and last of each stretch.

        So no peak is lost, although a week of 15,000 sessions has 30,000 steps and a screen has
        2,000 pixels.
        """
        count = len(self.times)
        if count <= limit:
            return self
        size = -(-count // max(1, limit // 4))  # a stretch keeps up to four points
        kept = sorted(
            index
            for start in range(0, count, size)
            for index in self._outline(range(start, min(start + size, count)))
        )
        return Steps(tuple(self.times[i] for i in kept), tuple(self.values[i] for i in kept))

    def _outline(self, stretch: range) -> set[int]:
        low = min(stretch, key=self.values.__getitem__)
        high = max(stretch, key=self.values.__getitem__)
        return {stretch[0], low, high, stretch[-1]}


NOTHING = Steps()


class StepRecorder:
    """Records a changing value; if it is set several times at one time, the last one counts."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._values: list[float] = []

    def set(self, at: float, value: float) -> None:
        """Record the value from `at` on; `at` must not decrease."""
        if self._times and self._times[-1] == at:
            self._times.pop()
            self._values.pop()
        if not self._values or self._values[-1] != value:
            self._times.append(at)
            self._values.append(value)

    def steps(self) -> Steps:
        """Return the steps recorded so far."""
        return Steps(tuple(self._times), tuple(self._values))


class Phase(StrEnum):
    """What a replica is doing.

    BUSY: has sessions, and serves new users as long as it has seats. RESERVE: has sessions, and
    new users are sent elsewhere as long as they have seats there. SPARE: Ready without a session.
    DRAINING: to be deleted once its last session has ended. DRAINED: to be deleted, without a
    session, once its users can no longer reconnect.
    """

    BUSY = "busy"
    RESERVE = "reserve"
    SPARE = "spare"
    STARTING = "starting"
    DRAINING = "draining"
    DRAINED = "drained"


@dataclass(slots=True)
class PodLife:
    """The life of one replica: when each phase began, and when it ended, if it has.

    served: sessions that it had in all. pod: its name, of a real one.
    """

    number: int
    phases: list[tuple[float, Phase]]
    ended_at: float | None = None
    served: int = 0
    pod: str = ""

    @property
    def name(self) -> str:
        """The name of the pod, or its number in a simulation."""
        return self.pod or f"pod-{self.number}"

    @property
    def phase(self) -> Phase:
        """The last phase."""
        return self.phases[-1][1]


class Change(NamedTuple):
    """A change of the replica count, and its reason."""

    at: float
    before: int
    after: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """One run from `start` to `end`, simulated or live.

    seats: sessions that one replica holds. sessions: on any replica. ready, billed, desired:
    replicas; billed ones are starting or ready. refused: times at which users found no free seat
    and went away. timezone: name of the zone in which to show times, or None for this machine's.
    crowded: sessions on replicas whose seats are all taken by others. waiting: users in a queue.
    phases: replicas in each phase. lives: of each replica. demand: users who wanted a seat, also
    those who were refused. These five are empty for a live run.
    """

    start: float
    end: float
    seats: int
    sessions: Steps
    ready: Steps
    billed: Steps
    desired: Steps
    refused: tuple[float, ...] = ()
    changes: tuple[Change, ...] = ()
    timezone: str | None = None
    crowded: Steps = NOTHING
    waiting: Steps = NOTHING
    phases: Mapping[Phase, Steps] = field(default_factory=dict)
    lives: tuple[PodLife, ...] = ()
    demand: Steps = NOTHING


class Table(NamedTuple):
    """A table of texts; the first column has the titles of the rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def pieces(
    series: Sequence[Steps], start: float, end: float
) -> Iterator[tuple[float, tuple[float, ...]]]:
    """Yield each stretch in which no series changes: its seconds, and the value of each series."""
    values = [0.0] * len(series)
    at = start
    for when, index, value in heapq.merge(*map(_events, range(len(series)), series)):
        if when >= end:
            break
        if when > at:
            yield when - at, tuple(values)
            at = when
        values[index] = value
    if end > at:
        yield end - at, tuple(values)


def stacked(series: Mapping[Phase, Steps], limit: int) -> Mapping[Phase, Steps]:
    """Return the sums of each series and those before it, all with the same times.

    limit: of points; of longer series the highest total of each stretch is kept.
    """
    times = sorted({at for steps in series.values() for at in steps.times})
    if not times:
        return {}
    sums: dict[Phase, Steps] = {}
    below = [0.0] * len(times)
    for phase, steps in series.items():
        below = [low + steps.at(when) for low, when in zip(below, times, strict=True)]
        sums[phase] = Steps(tuple(times), tuple(below))
    total = Steps(tuple(times), tuple(below)).thinned(limit)
    kept = [bisect_left(times, when) for when in total.times]
    return {
        phase: Steps(total.times, tuple(steps.values[index] for index in kept))
        for phase, steps in sums.items()
    }


def _events(index: int, steps: Steps) -> Iterator[tuple[float, int, float]]:
    for at, value in zip(steps.times, steps.values, strict=True):
        yield at, index, value
