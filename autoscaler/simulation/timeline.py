"""What happened over time, as step functions: the neutral input of scores and reports.

Times are Unix seconds. Between two events nothing changes, so integrals over steps are exact and
do not depend on the tick.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Steps(NamedTuple):
    """A step function: values[i] holds from times[i] on, 0 before the first. Times ascend."""

    times: tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    @property
    def peak(self) -> float:
        """The highest value; 0 where there is none."""
        return max(self.values, default=0)

    def scaled(self, factor: float) -> Steps:
        """Every value times `factor`: replicas to seats."""
        return Steps(self.times, tuple(value * factor for value in self.values))

    def thinned(self, limit: int) -> Steps:
        """At most `limit` points that keep the first, lowest, highest and last of each stretch.

        So no peak is lost: a week of 15,000 sessions has 30,000 steps, a screen 2,000 pixels.
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


class StepRecorder:
    """Writes down a value that changes; the last word at one moment counts."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._values: list[float] = []

    def set(self, at: float, value: float) -> None:
        """The value from `at` on; `at` must not go back."""
        if self._times and self._times[-1] == at:
            self._times.pop()
            self._values.pop()
        if not self._values or self._values[-1] != value:
            self._times.append(at)
            self._values.append(value)

    def steps(self) -> Steps:
        """What was written down so far."""
        return Steps(tuple(self._times), tuple(self._values))


class Change(NamedTuple):
    """A change of the replica count and why it was made."""

    at: float
    before: int
    after: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """One run from `start` to `end`, simulated or live.

    sessions: seated users. ready, billed, desired: replicas; billed ones are starting or ready.
    seats: sessions that one replica holds. refused: when users found no free seat.
    timezone: name of the zone in which people want to read the times; None: this machine's.
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


class Table(NamedTuple):
    """Texts in rows; the first column names the row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def pieces(
    series: Sequence[Steps], start: float, end: float
) -> Iterator[tuple[float, tuple[float, ...]]]:
    """Each stretch in which no series changes: its length in seconds and a value of each."""
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


def _events(index: int, steps: Steps) -> Iterator[tuple[float, int, float]]:
    for at, value in zip(steps.times, steps.values, strict=True):
        yield at, index, value
