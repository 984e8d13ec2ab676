"""When Prometheus scrapes a simulated pod, and what the last scrape saw."""

from __future__ import annotations

from math import ceil, floor, inf
from typing import NamedTuple


class ScrapeTimes(NamedTuple):
    """The times at which a pod is scraped: every `interval` seconds, `offset` after a full one.

    Prometheus spreads its targets over the interval. interval 0: it knows what is so now.
    """

    interval: float = 0.0
    offset: float = 0.0

    def last(self, until: float) -> float:
        """Return the last time at or before this one."""
        if not self.interval:
            return until
        return self._time(floor((until - self.offset) / self.interval))

    def before(self, moment: float) -> float:
        """Return the last time before this one, or -inf if there is none."""
        if not self.interval:
            return -inf
        return self._time(ceil((moment - self.offset) / self.interval) - 1)

    def following(self, moment: float) -> float:
        """Return the first time after this one."""
        if not self.interval:
            return moment
        return self._time(floor((moment - self.offset) / self.interval) + 1)

    def _time(self, number: int) -> float:
        return self.offset + number * self.interval


class Scrape(NamedTuple):
    """What a scrape of a pod saw.

    sessions: those with a connection, and oldest_since: when the first of them came. arrivals,
    departures: a second, over the last minute.
    """

    at: float
    sessions: int
    arrivals: float
    departures: float
    oldest_since: float | None = None

    def says_the_same(self, other: Scrape) -> bool:
        """Return whether both have the same values."""
        return self[1:] == other[1:]
