"""Counters and histograms of one worker; its serving threads write and the agent's thread reads."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

Key = tuple[str, tuple[str, ...]]  # metric name, label values


class Histogram:
    """Observations in seconds, counted per bucket; the last bucket has those above all bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation; upper bounds are inclusive (`le`)."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Tally:
    """All totals of this worker since it started.

    The lock takes 0.1 us, once for each session, connection, request or message.
    """

    def __init__(self, bounds: Mapping[str, tuple[float, ...]]) -> None:
        self._bounds = bounds
        self._lock = threading.Lock()
        self._counters: dict[Key, float] = {}
        self._histograms: dict[Key, Histogram] = {}

    def add(self, name: str, *labels: str, amount: float = 1.0) -> None:
        """Add to a counter; adding 0 creates the series."""
        key = (name, labels)
        with self._lock:
            self._counters[key] = self._counters.get(key, 0.0) + amount

    def observe(self, name: str, *labels: str, seconds: float) -> None:
        """Count an observation in a histogram; a negative one (clock jitter) counts as 0."""
        with self._lock:
            self._histogram(name, labels).observe(max(0.0, seconds))

    def declare_histogram(self, name: str, *labels: str) -> None:
        """Create the empty series of a histogram."""
        with self._lock:
            self._histogram(name, labels)

    def _histogram(self, name: str, labels: tuple[str, ...]) -> Histogram:
        key = (name, labels)
        if key not in self._histograms:
            self._histograms[key] = Histogram(self._bounds[name])
        return self._histograms[key]

    def dump(self) -> dict[str, list[Any]]:
        """Return all totals as JSON values: [name, labels, value], [name, labels, counts, sum]."""
        with self._lock:
            return {
                "counters": [[name, labels, v] for (name, labels), v in self._counters.items()],
                "histograms": [
                    [name, labels, list(h.counts), h.sum]
                    for (name, labels), h in self._histograms.items()
                ],
            }
