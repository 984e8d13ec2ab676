"""Metrics whose series end with what they are about: a removed policy leaves none behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram

Metric = TypeVar("Metric", Counter, Gauge, Histogram)
Labels = tuple[str, ...]


class Family(dict[Labels, Metric]):
    """The series of one metric by the values of their labels, each made when it is first needed."""

    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self._metric: Metric = metric

    def __missing__(self, labels: Labels) -> Metric:
        self[labels] = self._metric.labels(*labels)
        return self[labels]

    def keep(self, wanted: Callable[[Labels], bool]) -> None:
        """Remove every series but those that are wanted, by the values of their labels."""
        for labels in [labels for labels in self if not wanted(labels)]:
            del self[labels]
            self._metric.remove(*labels)
