"""Traces: the sessions that a simulation replays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from autoscaler.simulation.measured import NOTHING_MEASURED, Measured
from autoscaler.simulation.timeline import StepRecorder, Steps

# Seconds of a session that starts and ends within the same second of a log.
SHORTEST_SESSION = 1.0
# Sessions of a trace, which take 130 bytes each.
MAX_SESSIONS = 5_000_000


class Session(NamedTuple):
    """One session, in Unix seconds."""

    start: float
    end: float


@dataclass(frozen=True)
class Trace:
    """Sessions in the order of their start, and the time that the replay covers.

    note: how it was interpreted where that was ambiguous, and what was left out. measured: what its
    source says about the application.
    """

    name: str
    sessions: tuple[Session, ...]
    start: float
    end: float
    note: str = ""
    measured: Measured = NOTHING_MEASURED

    @cached_property
    def concurrency(self) -> Steps:
        """The number of sessions over time if none is refused or cut."""
        ends = sorted(session.end for session in self.sessions)
        recorder, present, ended = StepRecorder(), 0, 0
        recorder.set(self.start, 0)
        for session in self.sessions:
            # At the same time, sessions end before others start.
            while ended < len(ends) and ends[ended] <= session.start:
                ended, present = ended + 1, present - 1
                recorder.set(ends[ended - 1], present)
            present += 1
            recorder.set(session.start, present)
        for left, end in zip(range(len(ends) - ended - 1, -1, -1), ends[ended:], strict=True):
            recorder.set(end, left)
        return recorder.steps()

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the sessions and the span; equal traces have equal digests."""
        digest = hashlib.sha256(f"{self.start!r},{self.end!r}\n".encode())
        for start, end in self.sessions:
            digest.update(f"{start!r},{end!r}\n".encode())
        return digest.hexdigest()


def trace_of(name: str, sessions: Iterable[Session], note: str = "") -> Trace:
    """Return a trace from the first start to the last end.

    sessions: at least one, in any order.
    """
    ordered = tuple(sorted(sessions))
    return Trace(name, ordered, ordered[0].start, max(session.end for session in ordered), note)
