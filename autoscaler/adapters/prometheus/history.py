"""The recorded history of one Deployment: aggregated by Prometheus, and fetched in chunks."""

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
from autoscaler.adapters.prometheus.rows import LARGEST, Point, labelled, number_of
from autoscaler.errors import MetricsError
from autoscaler.model import TargetRef
from autoscaler.simulation.history import History, Series
from autoscaler.units import duration_text

# Prometheus rejects queries for more than 11,000 points of a series; a chunk also covers at most a
# day, so that no query loads many samples.
MOST_POINTS, LONGEST_CHUNK = 10_000, 86_400
# Points of a whole history; the step becomes longer than a scrape interval if it would have more.
MOST_STEPS = 100_000
# Seconds between the points of slow signals.
COARSE, DAY = 300, 86_400


def _by_app(expression: str, *labels: str) -> str:
    """Return the series of a pod and an application, whatever else the scrape adds to them.

    If the scrape itself sets a label `app`, Prometheus renames that of the exporter.
    """
    renamed = f'label_replace({expression}, "app", "$1", "exported_app", "(.+)")'
    return f"max by ({', '.join(('pod', 'app', *labels))}) ({renamed})"


# The queries, by what they return. What is in braces is replaced by matchers of the target.
_PER_POD = (
    f"max by (pod) (sum by (pod, quality) ({_by_app('bokeh_sessions{connected}', 'quality')}))"
)
_CREATED, _ORPHANED = (
    _by_app(f"rate(bokeh_sessions_{what}_total{{pods}}[{{window}}])")
    for what in ("created", "orphaned")
)
_ENDED = _by_app("increase(bokeh_session_duration_seconds_bucket{pods}[{day}])", "le")
_FINE = {
    "sessions": f"sum({_PER_POD})",
    # Sessions to which nobody ever connected are created too, by probes for example.
    "arrival_rate": f"sum({_CREATED}) - (sum({_ORPHANED}) or vector(0))",
    "desired": 'max(bokeh_autoscaler_replicas{daemon,kind="desired"})',
    "ready": 'max(bokeh_autoscaler_replicas{daemon,kind="ready"})',
}
_COARSE = {
    "fullest": f"max({_PER_POD})",
    "mean_sessions": f"avg({_PER_POD})",
    "mean_cpu": "avg(max by (pod) (rate(bokeh_cpu_seconds_total{pods}[5m])))",
    "mean_memory": "avg(max by (pod) (bokeh_memory_working_set_bytes{pods}))",
}
_LENGTHS = f"sum by (le) ({_ENDED})"


class PrometheusHistory:
    """Reads the history of a Deployment."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings
        self._session = PrometheusSession(settings)
        self._client = QueryClient(self._session, settings)

    def read(
        self,
        target: tuple[str, str],
        end: float,
        span: float,
        progress: Callable[[float], None] = lambda _: None,
    ) -> History:
        """Return the last `span` seconds before `end`. Raises MetricsError.

        target: namespace and name of the Deployment. progress: called with the share that is done.
        """
        step = max(round(self._settings.scrape_interval), -(-round(span) // MOST_STEPS), 1)
        last = int(end) - int(end) % step
        first = last - max(1, round(span) // step) * step
        plan = [(name, query, step) for name, query in _FINE.items()]
        plan += [(name, query, COARSE) for name, query in _COARSE.items()]
        found: dict[str, Series] = {}
        for number, (name, query, every) in enumerate(plan):

            def share(part: float, number: int = number) -> None:
                progress((number + part) / (len(plan) + 1))

            text = self._restricted(query, target, step)
            found[name] = dict(self._points(text, first, last, every, share))
            if name == "sessions" and not found[name]:
                raise self._nothing(text, target, span)
        day = min(DAY, last - first)
        text = self._restricted(_LENGTHS, target, step).replace("{day}", f"{day}s")
        lengths = self._lengths(text, first + day, last)
        progress(1.0)
        return History(start=first, end=last, step=step, lengths=lengths, **found)

    def arrivals(self, ref: TargetRef, end: float, span: float, slot: int) -> Mapping[int, float]:
        """Implement `ports.ArrivalHistory`. A day is one query."""
        last = int(end) // slot
        first = last - round(span) // slot + 1
        query = self._restricted(_FINE["arrival_rate"], ref, slot)
        points = self._points(query, first * slot, last * slot, slot, lambda _: None)
        rates = {round(at / slot) - 1: max(0.0, rate) for at, rate in points if rate <= LARGEST}
        return {number: rate for number, rate in rates.items() if first - 1 <= number < last}

    def _restricted(self, query: str, target: tuple[str, str], step: int) -> str:
        """Return a query with the matchers of the target in place of its short forms."""
        namespace, deployment = target
        ours = f'namespace="{namespace}"'
        pods = pods_of(namespace, deployment)
        match = f",{self._settings.match}" if self._settings.match else ""
        return (
            query.replace("{connected}", f'{{{pods},state="connected"{match}}}')
            .replace("{pods}", f"{{{pods}{match}}}")
            .replace("{daemon,", f'{{{ours},deployment="{deployment}"{match},')
            .replace("{window}", f"{max(round(self._settings.window), step)}s")
        )

    def _points(
        self, query: str, first: int, last: int, step: int, progress: Callable[[float], None]
    ) -> Iterator[tuple[float, float]]:
        """Yield the points of the one series that a query returns, in the order of time."""
        for _, points, begin in self._chunks(query, first, last, step):
            yield from points
            progress((begin - first) / max(1, last - first))

    def _lengths(self, query: str, first: int, last: int) -> dict[float, float]:
        """Return how many sessions ended within each length in seconds, over the whole time."""
        lengths: dict[float, float] = {}
        for labels, points, _ in self._chunks(query, first, last, DAY):
            if (bound := _bound(str(labels.get("le", "")))) is not None:
                ended = sum(point.value for point in points)
                lengths[bound] = lengths.get(bound, 0.0) + ended
        return dict(sorted(lengths.items()))

    def _chunks(
        self, query: str, first: int, last: int, step: int
    ) -> Iterator[tuple[Mapping[str, str], list[Point], int]]:
        """Yield labels and points of each row, and the beginning of its chunk."""
        size = min(MOST_POINTS * step, max(LONGEST_CHUNK, step)) // step * step
        for begin in range(first, last + 1, size):
            end = min(begin + size - step, last)
            with self._session.reading():
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

    def _nothing(self, query: str, target: tuple[str, str], span: float) -> MetricsError:
        return self._session.failure(
            f"no data of the last {duration_text(span)} for `{query}`; check that the target"
            f" {'/'.join(target)} of the policy is right, that Prometheus scrapes its exporters,"
            " how long it keeps data, and --match"
        )


def _bound(text: str) -> float | None:
    """Return the upper bound of a bucket, or None if it is none: any target may export one."""
    try:
        bound = float(text)
    except ValueError:
        return None
    return bound if bound > 0 else None
