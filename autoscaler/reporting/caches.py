"""How current what the daemon watches is, as metrics that are made when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from autoscaler.ports import CacheAge
from autoscaler.reporting.status import PREFIX

LABELS = ("resource", "namespace")


class CacheCollector(Collector):
    """Asks for the ages of all caches. namespace is "" where a watch covers all namespaces."""

    def __init__(self, ages: Callable[[], Iterable[CacheAge]]) -> None:
        self._ages = ages

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Return each age, and how often watches have failed."""
        age = GaugeMetricFamily(
            f"{PREFIX}_cache_age_seconds",
            "Seconds since the API server last confirmed the objects that the daemon watches.",
            labels=LABELS,
        )
        failures = CounterMetricFamily(
            f"{PREFIX}_watch_failures",
            "Attempts to list or watch objects that failed.",
            labels=LABELS,
        )
        for each in self._ages():
            labels = (each.resource, each.namespace)
            age.add_metric(labels, each.seconds)
            failures.add_metric(labels, each.failures)
        yield age
        yield failures
