"""95 % intervals of a run's figures, from its days.

Users of one day have a common cause, so whole days are drawn again, in blocks, as Künsch (1989)
proposed for dependent data. Two runs of the same trace are compared day by day, which removes
what both have in common.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from math import cbrt, sqrt
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from autoscaler.simulation.engine import Run
from autoscaler.simulation.timeline import Steps
from autoscaler.simulation.trace import Trace

HOUR = 3_600.0
ROUNDS = 2_000
# Ends of a 95 % interval as shares of the drawn values, and as standard deviations.
TAIL = 0.025
Z = 1.96
# From so many days on, they can be drawn again.
FEWEST_DAYS = 3


class Day(NamedTuple):
    """The figures of one day. sessions: users who came. refused: those who found no free seat.

    hours: its length; the first and the last day of a trace may be shorter.
    """

    sessions: int
    refused: int
    replica_hours: float
    hours: float = 24.0


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        """Whether the interval does not exclude zero."""
        return self.low <= 0.0 <= self.high


def day_edges(start: float, end: float, zone: str) -> tuple[float, ...]:
    """Return the beginning, each midnight in between by the clock of the zone, and the end."""
    edges = [start]
    date = datetime.fromtimestamp(start, ZoneInfo(zone)).date()
    while True:
        date += timedelta(days=1)
        midnight = datetime.combine(date, time(), ZoneInfo(zone)).timestamp()
        if midnight >= end:
            return (*edges, end)
        edges.append(midnight)


def days_of(run: Run, trace: Trace, edges: Sequence[float]) -> tuple[Day, ...]:
    """Return the figures of each day between two edges; what is outside does not count."""
    came = counted_by_day([session.start for session in trace.sessions], edges)
    refused = counted_by_day(run.timeline.refused, edges)
    billed = run.timeline.billed
    return tuple(
        Day(came[n], refused[n], _area(billed, since, until) / HOUR, (until - since) / HOUR)
        for n, (since, until) in enumerate(pairwise(edges))
    )


def counted_by_day(times: Sequence[float], edges: Sequence[float]) -> Counter[int]:
    """Return how many times each day has; the end itself belongs to the last day."""
    last = len(edges) - 2
    return Counter(
        min(bisect_right(edges, at) - 1, last) for at in times if edges[0] <= at <= edges[-1]
    )


def _area(steps: Steps, since: float, until: float) -> float:
    first, last = (bisect_right(steps.times, at) for at in (since, until))
    times = [since, *steps.times[first:last], until]
    values = [steps.at(since), *steps.values[first:last]]
    return sum(
        value * (end - begin) for (begin, end), value in zip(pairwise(times), values, strict=True)
    )


def replica_hours(days: Sequence[Day]) -> float:
    """Return the billed replica-hours of all days."""
    return sum(day.replica_hours for day in days)


def refused_percent(days: Sequence[Day]) -> float:
    """Return the share of users without a seat, in percent."""
    sessions = sum(day.sessions for day in days)
    return 100.0 * sum(day.refused for day in days) / sessions if sessions else 0.0


def refused_interval(days: Sequence[Day]) -> Interval:
    """Return the interval of the share of users without a seat, in percent.

    It is at least as wide as that of so many independent users: that nobody of 100 was refused does
    not show that of 10,000 nobody would be.
    """
    sessions = sum(day.sessions for day in days)
    if not sessions:
        return Interval(0.0, 100.0)
    low, high = _poisson_limits(sum(day.refused for day in days))
    drawn = _interval(len(days), lambda chosen: refused_percent([days[n] for n in chosen]))
    return Interval(
        max(0.0, min(drawn.low, 100.0 * low / sessions)),
        min(100.0, max(drawn.high, 100.0 * high / sessions)),
    )


def refused_difference(days: Sequence[Day], others: Sequence[Day]) -> Interval:
    """Return by how many percentage points the share without a seat differs from the others'."""

    def difference(chosen: Sequence[int]) -> float:
        ours, theirs = ([each[n] for n in chosen] for each in (days, others))
        return refused_percent(ours) - refused_percent(theirs)

    return _interval(len(days), difference)


def cost_difference(days: Sequence[Day], others: Sequence[Day]) -> Interval:
    """Return by how many replica-hours, over all days, the cost differs from the others'."""
    differences = [
        day.replica_hours - other.replica_hours for day, other in zip(days, others, strict=True)
    ]
    return _interval(len(days), lambda chosen: sum(differences[n] for n in chosen))


def cost_interval(days: Sequence[Day]) -> Interval:
    """Return the interval of the replica-hours in a time as long as all days."""
    length = sum(day.hours for day in days)
    pairs = [(day.replica_hours, day.hours) for day in days]
    return _interval(len(days), lambda chosen: length * _ratio(chosen, pairs))


def relative_cost(days: Sequence[Day], others: Sequence[Day]) -> Interval:
    """Return by how many percent the replica-hours exceed those of the others."""
    pairs = [
        (day.replica_hours, other.replica_hours) for day, other in zip(days, others, strict=True)
    ]
    return _interval(len(days), lambda chosen: 100.0 * _ratio(chosen, pairs) - 100.0)


def _ratio(chosen: Sequence[int], pairs: Sequence[tuple[float, float]]) -> float:
    """Return the sum of the first values over that of the second ones, of the chosen days."""
    return sum(pairs[n][0] for n in chosen) / max(sum(pairs[n][1] for n in chosen), 1e-9)


def _interval(count: int, statistic: Callable[[Sequence[int]], float]) -> Interval:
    """Return the middle 95 % of a statistic over drawn days, which are given by their numbers.

    The distances from the measured value are widened, because few days differ less from each other
    than all days would.
    """
    values = sorted(statistic(chosen) for chosen in _drawn(count))
    last = len(values) - 1
    measured, wider = statistic(range(count)), _widening(count / _block_length(count))
    low, high = values[round(TAIL * last)], values[round((1.0 - TAIL) * last)]
    return Interval(measured + wider * (low - measured), measured + wider * (high - measured))


@lru_cache(maxsize=8)
def _drawn(count: int) -> tuple[tuple[int, ...], ...]:
    """Return as many draws as there are rounds, each of `count` days; day 0 follows the last."""
    random = Random(1)  # noqa: S311 - no secret
    length = _block_length(count)
    rounds = []
    for _ in range(ROUNDS):
        starts = [random.randrange(count) for _ in range(-(-count // length))]
        rounds.append(tuple((begin + n) % count for begin in starts for n in range(length))[:count])
    return tuple(rounds)


def _block_length(count: int) -> int:
    return max(1, int(cbrt(count)))


def _widening(blocks: float) -> float:
    """Return by how much Student's distribution for so many blocks is wider than the normal one.

    The quantile is that of Fisher and Cornish (1960).
    """
    free = blocks - 1.0
    quantile = Z + (Z**3 + Z) / (4 * free) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * free**2)
    return quantile / Z * sqrt(blocks / free)


def _poisson_limits(count: int) -> Interval:
    """Return the limits of a Poisson number's mean, by Byar's approximation."""

    def limit(number: int, sign: int) -> float:
        return number * (1.0 - 1.0 / (9.0 * number) + sign * Z / (3.0 * sqrt(number))) ** 3

    return Interval(limit(count, -1) if count else 0.0, limit(count + 1, 1))
