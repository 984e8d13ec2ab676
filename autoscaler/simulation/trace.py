"""Traces: the sessions that a simulation replays, and a generated week of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from math import exp
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from autoscaler.simulation.timeline import StepRecorder, Steps

HOUR = 3_600.0
# A Monday in a week without a change to or from summer time anywhere.
MONDAY = datetime(2026, 1, 12)  # noqa: DTZ001 - its zone is an argument
# Arrivals per hour on a working day: a large morning and a smaller afternoon peak, each as
# (hour, rate, width).
PEAKS = ((9.5, 430.0, 1.0), (14.0, 340.0, 1.5))
QUIET_ARRIVALS = 4.0
BUSIEST = 500.0
# Half of the sessions are shorter than 20 minutes, the mean is 33, and 5 % last most of the day.
MEDIAN_SECONDS = 1_200.0
SPREAD = 1.0
ALL_DAY_SHARE = 0.05
ALL_DAY_HOURS = (5.0, 9.0)
SHORTEST = 10.0


class Session(NamedTuple):
    """One session, in Unix seconds."""

    start: float
    end: float


@dataclass(frozen=True)
class Trace:
    """Sessions in the order of their start, and the time that the replay covers.

    note: how its times were interpreted, if that was ambiguous.
    """

    name: str
    sessions: tuple[Session, ...]
    start: float
    end: float
    note: str = ""

    @cached_property
    def concurrency(self) -> Steps:
        """The number of sessions over time if none is refused or cut."""
        changes = [(session.end, -1) for session in self.sessions]
        changes += [(session.start, 1) for session in self.sessions]
        recorder, count = StepRecorder(), 0
        recorder.set(self.start, 0)
        for at, change in sorted(changes):  # at the same time, sessions end before others start
            count += change
            recorder.set(at, count)
        return recorder.steps()

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the sessions and the span; equal traces have equal digests."""
        text = f"{self.start!r},{self.end!r}\n" + "".join(
            f"{start!r},{end!r}\n" for start, end in self.sessions
        )
        return hashlib.sha256(text.encode()).hexdigest()


def trace_of(name: str, sessions: Iterable[Session], note: str = "") -> Trace:
    """Return a trace from the first start to the last end.

    sessions: at least one, in any order.
    """
    ordered = tuple(sorted(sessions))
    return Trace(name, ordered, ordered[0].start, max(session.end for session in ordered), note)


def office_week(seed: int, timezone: str = "UTC") -> Trace:
    """Return a generated week of an office in `timezone`, from Monday to Sunday.

    It has about 12,500 sessions, up to 280 at the same time. The same seed gives the same week.
    """
    random = Random(seed)  # noqa: S311 - generated sessions, no secret
    monday = MONDAY.replace(tzinfo=ZoneInfo(timezone))
    start = monday.timestamp()
    end = (monday + timedelta(days=7)).timestamp()
    sessions, at = [], 0.0
    while (at := at + random.expovariate(BUSIEST / HOUR)) < end - start:
        if random.random() < _arrivals_an_hour(at) / BUSIEST:
            begin = start + round(at)
            sessions.append(Session(begin, min(end, begin + _stay(random, at))))
    return Trace(f"office week, seed {seed}", tuple(sessions), start, end)


def _arrivals_an_hour(at: float) -> float:
    day, second = divmod(at, 24 * HOUR)
    if day >= 5:
        return QUIET_ARRIVALS
    hour = second / HOUR
    return QUIET_ARRIVALS + sum(
        rate * exp(-(((hour - middle) / width) ** 2) / 2) for middle, rate, width in PEAKS
    )


def _stay(random: Random, at: float) -> float:
    """Return the length of a session in whole seconds, which are equal on all platforms."""
    morning = (at / HOUR) % 24 < 11
    if random.random() < ALL_DAY_SHARE and morning:
        return round(random.uniform(*ALL_DAY_HOURS) * HOUR)
    return max(SHORTEST, round(random.lognormvariate(0.0, SPREAD) * MEDIAN_SECONDS))
