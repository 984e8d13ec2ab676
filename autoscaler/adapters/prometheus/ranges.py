"""Range queries about one Deployment, fetched in chunks that Prometheus accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from autoscaler.adapters.prometheus.client import QueryClient
from autoscaler.adapters.prometheus.http import (
    PrometheusSession,
    PrometheusSettings,
    QueryRejectedError,
)
from autoscaler.adapters.prometheus.matchers import pods_of
from autoscaler.adapters.prometheus.rows import Point, labelled, number_of
from autoscaler.errors import MetricsError

# Prometheus rejects queries for more than 11,000 points of a series; a chunk also covers at most a
# day, so that no query loads many samples.
MOST_POINTS, LONGEST_CHUNK = 10_000, 86_400


def by_app(expression: str, *labels: str) -> str:
    """Return the series of a pod and an application, whatever else the scrape adds to them.

    If the scrape itself sets a label `app`, Prometheus renames that of the exporter.
    """
    renamed = f'label_replace({expression}, "app", "$1", "exported_app", "(.+)")'
    return f"max by ({', '.join(('pod', 'app', *labels))}) ({renamed})"


def by_pod(gauge: str) -> str:
    """Return a gauge of each pod, summed over its applications; of two qualities the larger."""
    return f"max by (pod) (sum by (pod, quality) ({by_app(gauge, 'quality')}))"


# Queries that several readers have. What is in braces is replaced by matchers of the target.
PER_POD = by_pod("bokeh_sessions{connected}")
_CREATED, _ORPHANED = (
    by_app(f"rate(bokeh_sessions_{what}_total{{pods}}[{{window}}])")
    for what in ("created", "orphaned")
)
# Sessions to which nobody ever connected are created too, by probes for example.
ARRIVAL_RATE = f"sum({_CREATED}) - (sum({_ORPHANED}) or vector(0))"


class RangeQueries:
    """Runs queries over a time. Times in seconds."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self.session = PrometheusSession(settings)
        self._settings = settings
        self._client = QueryClient(self.session, settings)

    def restricted(self, query: str, target: tuple[str, str], step: int, more: str = "") -> str:
        """Return a query with the matchers of the target in place of its short forms.

        more: another matcher of pods, with a comma before it.
        """
        namespace, deployment = target
        ours = f'namespace="{namespace}"'
        pods = f"{pods_of(namespace, deployment)}{more}"
        match = f",{self._settings.match}" if self._settings.match else ""
        return (
            query.replace("{connected}", f'{{{pods},state="connected"{match}}}')
            .replace("{pods}", f"{{{pods}{match}}}")
            .replace("{daemon", f'{{{ours},deployment="{deployment}"{match}')
            .replace("{window}", f"{max(round(self._settings.window), step)}s")
        )

    def points(
        self, query: str, first: int, last: int, step: int, progress: Callable[[float], None]
    ) -> Iterator[tuple[float, float]]:
        """Yield the points of the one series that a query returns, in the order of time."""
        for _, points, begin in self.rows(query, first, last, step):
            yield from points
            progress((begin - first) / max(1, last - first))

    def rows(
        self, query: str, first: int, last: int, step: int
    ) -> Iterator[tuple[Mapping[str, str], list[Point], int]]:
        """Yield labels and points of each row, and the beginning of its chunk."""
        size = min(MOST_POINTS * step, max(LONGEST_CHUNK, step)) // step * step
        for begin in range(first, last + 1, size):
            end = min(begin + size - step, last)
            with self.session.reading():
                found = list(labelled(self._answer(query, begin, end, step)))
            for labels, row in found:
                values = row.get("values")
                points = map(number_of, values if isinstance(values, list) else ())
                yield labels, [point for point in points if point is not None], begin

    def _answer(self, query: str, begin: int, end: int, step: int) -> Any:
        try:
            return self._client.between(query, begin, end, step)
        except QueryRejectedError as error:
            raise MetricsError(f"{error}; the query is `{query}`") from None
