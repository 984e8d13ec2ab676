"""Sessions rebuilt from counts over time, where no session was recorded by itself. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from autoscaler.simulation.trace import SHORTEST_SESSION, Session


class Count(NamedTuple):
    """The number of sessions at a time. arrived: sessions that came since the count before."""

    at: float
    sessions: int
    arrived: int = 0


def sessions_of(
    counts: Sequence[Count], end: float, length: Callable[[], float] = lambda: 0.0
) -> list[Session]:
    """Return sessions of which as many are there at each count as it says.

    Arrivals and departures are spread evenly between two counts. Without `arrived`, as few sessions
    arrive as the counts allow. counts: in the order of time. end: of the sessions that are there at
    the last count. length: draws how long a session would stay; those whose time is over first
    leave first, and without it those who came first.
    """
    first = counts[0]
    present = [(first.at + length(), first.at) for _ in range(first.sessions)]
    heapq.heapify(present)
    sessions: list[Session] = []
    for before, after in pairwise(counts):
        for at, comes in _moves(before, after):
            if comes:
                heapq.heappush(present, (at + length(), at))
            else:
                _, start = heapq.heappop(present)
                sessions.append(Session(start, max(at, start + SHORTEST_SESSION)))
    sessions += [Session(start, max(end, start + SHORTEST_SESSION)) for _, start in present]
    return sorted(sessions)


def _moves(before: Count, after: Count) -> Iterator[tuple[float, bool]]:
    """Return the times between two counts at which a session comes (True) or leaves."""
    comes = max(after.arrived, after.sessions - before.sessions, 0)
    leaves = before.sessions + comes - after.sessions
    span = after.at - before.at
    moves = [(before.at + span * number / comes, True) for number in range(1, comes + 1)]
    moves += [(before.at + span * number / leaves, False) for number in range(1, leaves + 1)]
    # At the same time, sessions come before others leave, so there is always one that can.
    return iter(sorted(moves, key=lambda move: (move[0], not move[1])))
