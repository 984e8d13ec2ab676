"""Generated sessions for typical and for difficult days. The same seed gives the same sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from math import exp, exp2
from random import Random
from zoneinfo import ZoneInfo

from autoscaler.simulation.trace import Session, Trace

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
# A Monday in a week without a change to or from summer time anywhere.
MONDAY = datetime(2026, 1, 12)  # noqa: DTZ001 - its zone is an argument
# Arrivals per hour on a working day: a large morning and a smaller afternoon peak, each as
# (hour, rate, width).
PEAKS = ((9.5, 430.0, 1.0), (14.0, 340.0, 1.5))
QUIET_ARRIVALS = 4.0
BUSIEST = 500.0
# Half of the sessions are shorter than 20 minutes, the mean is 33, and 5 % last most of the day.
MEDIAN_SECONDS = 20 * MINUTE
SPREAD = 1.0
ALL_DAY_SHARE = 0.05
ALL_DAY_HOURS = (5.0, 9.0)
SHORTEST = 10.0

Workload = Callable[[int, str], Trace]


def office_week(seed: int, timezone: str = "UTC") -> Trace:
    """Return a week of an office, from Monday to Sunday.

    It has about 12,500 sessions, up to 280 at the same time.
    """
    random, start, end = _beginning(seed, timezone, days=7)
    sessions = _office(random, start, end)
    return Trace(f"office week, seed {seed}", tuple(sessions), start, end)


def class_of_200(seed: int, timezone: str = "UTC") -> Trace:
    """Return a morning on which a class of 200 opens the app within five minutes, at 9:00.

    They stay for the lesson of 90 minutes, and a tenth leaves early. 20 others come in an hour.
    """
    random, midnight, _ = _beginning(seed, timezone, days=1)
    start, end, lesson = (midnight + hour * HOUR for hour in (8, 12, 9))
    sessions = _steady(random, start, end, an_hour=20.0, median=10 * MINUTE)
    for _ in range(200):
        begin = lesson + round(random.triangular(0, 5 * MINUTE, 2 * MINUTE))
        early = random.random() < 0.1
        leaves = random.uniform(20, 80) if early else random.triangular(85, 100, 90)
        sessions.append(Session(begin, lesson + round(leaves * MINUTE)))
    return _day(f"class of 200 in 5 minutes, seed {seed}", sessions, start, end)


def viral_spike(seed: int, timezone: str = "UTC") -> Trace:
    """Return a day on which a link to the app spreads, from 14:00.

    60 sessions start in an hour, and 100 times as many ten minutes later; they become half as many
    every 40 minutes. Half of the sessions are shorter than four minutes.
    """
    random, start, end = _beginning(seed, timezone, days=1)
    usual, most = 60.0, 6_000.0

    def an_hour(at: float) -> float:
        since = at - 14 * HOUR
        if since < 0:
            return usual
        return usual + most * min(1.0, since / (10 * MINUTE)) * exp2(-since / (40 * MINUTE))

    sessions = [
        _session(start + at, _lasting(random, 4 * MINUTE), end)
        for at in _arrivals(random, end - start, usual + most, an_hour)
    ]
    return _day(f"viral spike, seed {seed}", sessions, start, end)


def retry_storm(seed: int, timezone: str = "UTC") -> Trace:
    """Return a working day with an outage of 15 minutes at 10:00, after which everybody retries.

    All sessions end at 10:00. Their users, and those who came meanwhile, return within 90 seconds
    of 10:15; each reloads the page one to four times before staying.
    """
    random, start, end = _beginning(seed, timezone, days=1)
    down = start + 10 * HOUR
    up = down + 15 * MINUTE
    sessions = []
    for session in _office(random, start, end):
        if session.end <= down or session.start >= up:
            sessions.append(session)
            continue
        if session.start < down:
            sessions.append(Session(session.start, down))
        at = up + round(random.uniform(0, 90))
        for _ in range(random.randint(1, 4)):
            reload = at + round(random.uniform(3, 15))
            sessions.append(Session(at, reload))
            at = reload
        sessions.append(Session(at, min(end, max(session.end, at + MINUTE))))
    return _day(f"outage with a retry storm, seed {seed}", sessions, start, end)


def overnight_tail(seed: int, timezone: str = "UTC") -> Trace:
    """Return two working days of an office where 4 % of the tabs stay open until the next morning.

    They are closed between 7:00 and 9:00, so a few sessions hold pods during the night.
    """
    random, start, end = _beginning(seed, timezone, days=2)
    sessions = []
    for session in _office(random, start, end):
        if random.random() < 0.04:
            next_day = start + ((session.start - start) // DAY + 1) * DAY
            closed = next_day + round(random.uniform(7 * HOUR, 9 * HOUR))
            sessions.append(Session(session.start, min(end, closed)))
        else:
            sessions.append(session)
    return _day(f"overnight tail, seed {seed}", sessions, start, end)


WORKLOADS: Mapping[str, Workload] = {
    "office-week": office_week,
    "class-of-200": class_of_200,
    "viral-spike": viral_spike,
    "retry-storm": retry_storm,
    "overnight-tail": overnight_tail,
}
DEFAULT_WORKLOAD = "office-week"


def _beginning(seed: int, timezone: str, days: int) -> tuple[Random, float, float]:
    """Return the random numbers, and the first and last midnight of so many days."""
    monday = MONDAY.replace(tzinfo=ZoneInfo(timezone))
    end = (monday + timedelta(days=days)).timestamp()
    return Random(seed), monday.timestamp(), end  # noqa: S311 - generated sessions, no secret


def _day(name: str, sessions: list[Session], start: float, end: float) -> Trace:
    return Trace(name, tuple(sorted(sessions)), start, end)


def _arrivals(
    random: Random, length: float, busiest: float, an_hour: Callable[[float], float]
) -> Iterator[float]:
    """Yield whole seconds of arrivals, of which so many come in an hour, at most `busiest`."""
    at = 0.0
    while (at := at + random.expovariate(busiest / HOUR)) < length:
        if random.random() < an_hour(at) / busiest:
            yield round(at)


def _office(random: Random, start: float, end: float) -> list[Session]:
    """Return the sessions of an office from Monday on, in the order of their start."""
    return [
        _session(start + at, _stay(random, at), end)
        for at in _arrivals(random, end - start, BUSIEST, _office_arrivals)
    ]


def _steady(
    random: Random, start: float, end: float, an_hour: float, median: float
) -> list[Session]:
    return [
        _session(start + at, _lasting(random, median), end)
        for at in _arrivals(random, end - start, an_hour, lambda _: an_hour)
    ]


def _session(start: float, length: float, end: float) -> Session:
    return Session(start, min(end, start + length))


def _office_arrivals(at: float) -> float:
    day, second = divmod(at, DAY)
    if day >= 5:
        return QUIET_ARRIVALS
    hour = second / HOUR
    return QUIET_ARRIVALS + sum(
        rate * exp(-(((hour - middle) / width) ** 2) / 2) for middle, rate, width in PEAKS
    )


def _stay(random: Random, at: float) -> float:
    morning = (at / HOUR) % 24 < 11
    if random.random() < ALL_DAY_SHARE and morning:
        return round(random.uniform(*ALL_DAY_HOURS) * HOUR)
    return _lasting(random, MEDIAN_SECONDS)


def _lasting(random: Random, median: float) -> float:
    """Return the length of a session in whole seconds, which are equal on all platforms."""
    return max(SHORTEST, round(random.lognormvariate(0.0, SPREAD) * median))
