"""The last hours of one Deployment, as the pods' exporters and the daemon told them."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.adapters.prometheus.http import PrometheusSettings
from autoscaler.adapters.prometheus.ranges import PER_POD, RangeQueries
from autoscaler.simulation.live import Recorded

# Points of a series: as many as a wide screen has pixels, about.
MOST_STEPS = 1_000


def _daemon(name: str, *labels: str) -> str:
    """Return the series of the daemon that leads; a standby has none of the target."""
    return f"max by ({', '.join(labels)}) (bokeh_autoscaler_{name}{{daemon}})"


# The queries, by the field that they fill, and the labels of their rows. Counters are those of each
# daemon: a new one counts from zero.
QUERIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "sessions": (PER_POD, ("pod",)),
    "cordons": (_daemon("cordoned_pod", "pod", "cause"), ("pod", "cause")),
    "replicas": (_daemon("replicas", "kind"), ("kind",)),
    "costs": (_daemon("cost_replicas", "kind"), ("kind",)),
    "decisions": ("bokeh_autoscaler_decisions_total{daemon}", ("direction", "reason")),
    "held": ("bokeh_autoscaler_scale_downs_held_total{daemon}", ("reason",)),
}
COUNTERS = ("decisions", "held")
PRICE = "max(bokeh_autoscaler_replica_hour_price)"


class RecentHistory:
    """Reads what was recorded of a Deployment of late."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._queries = RangeQueries(settings)
        self._scrape_interval = settings.scrape_interval

    def read(self, target: tuple[str, str], end: float, span: float) -> Recorded:
        """Return the last `span` seconds before `end`. Raises MetricsError."""
        step = max(round(self._scrape_interval), -(-round(span) // MOST_STEPS), 1)
        last = int(end) - int(end) % step
        first = last - max(1, round(span) // step) * step
        found: dict[str, dict[tuple[str, ...], dict[float, float]]] = {}
        for name, (query, labels) in QUERIES.items():
            series = found.setdefault(name, {})
            text = self._queries.restricted(query, target, step)
            for own, points, _ in self._queries.rows(text, first, last, step):
                key = tuple(str(own.get(label, "")) for label in labels)
                if name in COUNTERS:
                    key += tuple(f"{label}={value}" for label, value in sorted(own.items()))
                series.setdefault(key, {}).update(points)
        price = [
            point
            for _, points, _ in self._queries.rows(PRICE, last, last, step)
            for point in points
        ]
        return Recorded(first, last, step, price=price[0].value if price else None, **found)
