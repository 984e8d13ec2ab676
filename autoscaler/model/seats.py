"""What pods of one image have cost, and how many sessions a pod can hold by that."""

from __future__ import annotations

from math import inf
from typing import NamedTuple


class PodLoad(NamedTuple):
    """What one pod had to do at one time, as means over the time since its load before.

    at: in Unix seconds. busy: the share of the time in which its event loops were busy, from 0 to
    1. memory, limit: in bytes. lag: seconds by which 95 of 100 timers of its event loops were late
    at most. None: it is not known.
    """

    at: float
    sessions: float
    busy: float | None = None
    memory: float | None = None
    limit: float | None = None
    lag: float | None = None


class Line(NamedTuple):
    """What a pod costs: without sessions, and for each of them."""

    base: float
    each: float

    def sessions_at(self, limit: float) -> float:
        """Return the number of sessions with which a pod reaches a limit."""
        return (limit - self.base) / self.each if self.each > 0 else inf


class SeatEstimate(NamedTuple):
    """How many sessions a pod can hold, by what pods of one image have cost.

    seats: None while too little is known. why: the limit that decides, or what is not known, in
    words. busy: by the event loop, as a share of the time. memory: by memory, in bytes. limit: the
    memory limit in bytes. most: sessions that pods have been seen to hold, but for the fullest
    tenth. hours: session-hours by which it was made.
    """

    seats: int | None
    why: str
    busy: Line | None = None
    memory: Line | None = None
    limit: float | None = None
    most: float = 0.0
    hours: float = 0.0


class Seats(NamedTuple):
    """The seats of a pod in use, and when they were last changed (Unix seconds)."""

    number: int
    at: float
