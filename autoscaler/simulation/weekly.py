"""What happened at each hour of the week: refused users, and seats that nobody used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from autoscaler.simulation.timeline import Timeline, pieces

# The offsets of all zones are multiples of a quarter of an hour.
QUARTER = 900.0


class Cell(NamedTuple):
    """One hour of the week, over all weeks of a run. spare: free ready seats, on average."""

    refused: int
    spare: float


# By weekday, from 0 for Monday, and hour.
Week = Mapping[tuple[int, int], Cell]


def week(timeline: Timeline) -> Week:
    """Return the hours of the week that the run covers, by the clock of its time zone."""
    zone = ZoneInfo(timeline.timezone) if timeline.timezone else UTC
    refused: dict[tuple[int, int], int] = defaultdict(int)
    free: dict[tuple[int, int], float] = defaultdict(float)
    covered: dict[tuple[int, int], float] = defaultdict(float)

    def hour_of(at: float) -> tuple[int, int]:
        local = datetime.fromtimestamp(at, zone)
        return local.weekday(), local.hour

    for at in timeline.refused:
        refused[hour_of(at)] += 1
    now = timeline.start
    for seconds, (users, ready) in pieces(
        (timeline.sessions, timeline.ready), timeline.start, timeline.end
    ):
        seats, until = max(0.0, ready * timeline.seats - users), now + seconds
        while now < until:
            edge = min(until, (now // QUARTER + 1) * QUARTER)
            hour = hour_of(now)
            free[hour] += seats * (edge - now)
            covered[hour] += edge - now
            now = edge
    return {hour: Cell(refused[hour], free[hour] / covered[hour]) for hour in covered}
