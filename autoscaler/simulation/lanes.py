"""The lives of replicas as bars in as few rows as possible, such as a Gantt chart shows them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from autoscaler.simulation.timeline import Phase, PodLife

# Phases with and without sessions: a change between these is left out where it is too short to see.
SERVING = (Phase.BUSY, Phase.RESERVE, Phase.SPARE)


class Bar(NamedTuple):
    """One phase of one replica. lane: the row, from 0."""

    lane: int
    name: str
    phase: Phase
    start: float
    end: float
    served: int


def bars(lives: Iterable[PodLife], start: float, end: float, shortest: float) -> list[Bar]:
    """Return the bars from `start` to `end`. A row is free again once its replica has ended.

    shortest: seconds below which a phase is joined with the one before it, if both serve users.
    """
    free: list[int] = []
    taken: list[tuple[float, int]] = []
    found: list[Bar] = []
    for life in lives:
        began, ended = life.phases[0][0], end if life.ended_at is None else life.ended_at
        while taken and taken[0][0] <= began:
            heapq.heappush(free, heapq.heappop(taken)[1])
        lane = heapq.heappop(free) if free else len(taken)
        heapq.heappush(taken, (ended, lane))
        for phase, since, until in _spans(life, ended, shortest):
            if max(since, start) < min(until, end):
                bar = Bar(lane, life.name, phase, max(since, start), min(until, end), life.served)
                found.append(bar)
    return found


def _spans(life: PodLife, ended: float, shortest: float) -> Iterator[tuple[Phase, float, float]]:
    """Yield the phases of a replica, the short ones joined."""
    ends = [*(at for at, _ in life.phases[1:]), ended]
    phase, since = life.phases[0][1], life.phases[0][0]
    for (at, following), until in zip(life.phases[1:], ends[1:], strict=True):
        if phase in SERVING and following in SERVING and until - at < shortest:
            phase = following if phase is Phase.SPARE else phase
        elif following is not phase:
            yield phase, since, at
            phase, since = following, at
    yield phase, since, ended
