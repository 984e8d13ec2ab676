"""/metrics: an observation as Prometheus text 0.0.4 or OpenMetrics 1.0.

Names, types and help texts come from the table in `exporter.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.exposition import generate_latest as text
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from exporter.metrics import BY_NAME, CONNECTION_STATES, HINTS, SESSION_STATES, TABLE, MetricSpec
from exporter.observe import PodView
from exporter.release import own_commit, own_version
from exporter.wire import HistogramTotal

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class MetricSample(NamedTuple):
    """One value of a metric; `labels` are in the order of the metric's spec."""

    name: str
    labels: tuple[str, ...]
    value: float | HistogramTotal


def render(seen: PodView, accept: str) -> tuple[bytes, str]:
    """Return the body and its Content-Type, in the format that the Accept header prefers."""
    as_openmetrics = prefers_openmetrics(accept)
    families = Families(samples(seen))
    if as_openmetrics:
        return openmetrics(families), OPENMETRICS  # type: ignore[no-untyped-call]
    return text(families), TEXT


def prefers_openmetrics(accept: str) -> bool:
    """Return whether an Accept header prefers OpenMetrics to text, by the q of each."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0, "*/*": 0.0}
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        if media in weights:
            weights[media] = max(weights[media], _weight(parameters))
    return weights["application/openmetrics-text"] > max(weights["text/plain"], weights["*/*"])


def _weight(parameters: Iterable[str]) -> float:
    given = next((p[2:] for p in parameters if p.startswith("q=")), "1")
    try:
        return float(given)
    except ValueError:
        return 0.0


class Families(Collector):
    """Groups samples into the families of prometheus_client, in the order of the table."""

    def __init__(self, all_samples: Iterable[MetricSample]) -> None:
        self._by_name: dict[str, list[MetricSample]] = {}
        for sample in all_samples:
            self._by_name.setdefault(sample.name, []).append(sample)

    def collect(self) -> Iterator[Metric]:
        """Yield one family for each metric that has samples."""
        for spec in TABLE:
            if spec.name in self._by_name:
                yield _family(spec, self._by_name[spec.name])


def _family(spec: MetricSpec, own: Iterable[MetricSample]) -> Metric:
    suffix = {"counter": "_total", "info": "_info"}.get(spec.type, "")
    base = spec.name.removesuffix(suffix)
    unit = spec.unit if spec.unit and base.endswith(f"_{spec.unit}") else ""
    family = Metric(base, spec.help, spec.type, unit)
    for sample in own:
        labels = dict(zip(spec.labels, sample.labels, strict=True))
        if isinstance(sample.value, HistogramTotal):
            _add_histogram(family, spec, labels, sample.value)
        else:
            family.add_sample(spec.name, labels, sample.value)
    return family


def _add_histogram(
    family: Metric, spec: MetricSpec, labels: dict[str, str], total: HistogramTotal
) -> None:
    bounds = (*spec.buckets, float("inf"))
    for bound, count in zip(bounds, accumulate(total.counts), strict=False):
        family.add_sample(f"{spec.name}_bucket", {**labels, "le": _le(bound)}, count)
    family.add_sample(f"{spec.name}_count", labels, sum(total.counts))
    family.add_sample(f"{spec.name}_sum", labels, total.sum)


@cache
def _le(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]


def samples(seen: PodView) -> Iterator[MetricSample]:
    """Yield every sample of an observation."""
    yield MetricSample("bokeh_up", (), float(seen.up))
    yield MetricSample("bokeh_workers", (), len(seen.collected.workers))
    yield MetricSample("bokeh_draining", (), float(seen.collected.draining))
    yield MetricSample("bokeh_exporter_build_info", (own_version(), own_commit()), 1)
    yield from _workers(seen)
    yield from _apps(seen)
    yield from _totals(seen)
    yield from _resources(seen)


def _workers(seen: PodView) -> Iterator[MetricSample]:
    """Yield the samples of each slot; if two servers share a slot, the worse values are used."""
    slots: dict[str, list[tuple[float, float, float]]] = {}
    for worker in seen.collected.workers:
        busy = worker.report.utilization if worker.report is not None else 0.0
        slots.setdefault(worker.name.slot, []).append((float(worker.ok), worker.stalled_s, busy))
    for slot, seen_here in slots.items():
        ok, stalled, shares = zip(*seen_here, strict=True)
        yield MetricSample("bokeh_worker_up", (slot,), min(ok))
        yield MetricSample("bokeh_worker_stalled_seconds", (slot,), max(stalled))
        yield MetricSample("bokeh_event_loop_utilization_ratio", (slot,), max(shares))
    info = BY_NAME["bokeh_server_info"].labels
    for values in sorted(
        {tuple(report.info.get(label, "") for label in info) for report in seen.collected.reports}
    ):
        yield MetricSample("bokeh_server_info", values, 1)


def _apps(seen: PodView) -> Iterator[MetricSample]:
    """Yield the samples of each application.

    They are absent while no server is seen: the number of sessions is unknown then, not 0.
    """
    for url, app in sorted(seen.apps.items()) if seen.ready else ():
        for state in SESSION_STATES:
            yield MetricSample("bokeh_sessions", (url, state, seen.quality), getattr(app, state))
        for state in CONNECTION_STATES:
            yield MetricSample("bokeh_connections", (url, state, seen.quality), getattr(app, state))
        if seen.has_costs:
            yield MetricSample("bokeh_seats_taken", (url, seen.quality), app.seats)
        if seen.has_agents:
            if (ratio := seen.sessions_per_user(url)) is not None:
                yield MetricSample("bokeh_sessions_per_user_ratio", (url,), ratio)
            for hint, count in HINTS.items():
                yield MetricSample("bokeh_sessions_hinted", (url, hint), getattr(app, count))
            yield MetricSample("bokeh_session_oldest_age_seconds", (url,), app.oldest_age_s)
            yield MetricSample(
                "bokeh_last_client_activity_timestamp_seconds", (url,), app.last_activity
            )


def _totals(seen: PodView) -> Iterator[MetricSample]:
    """Yield the totals counted by the agents that the table knows.

    CPU time is left out here; `_resources` reports it.
    """
    for (name, labels), value in sorted(seen.collected.counters.items()):
        if name in BY_NAME and name != "bokeh_cpu_seconds_total":
            yield MetricSample(name, labels, value)
    for (name, labels), total in sorted(seen.collected.histograms.items(), key=lambda i: i[0]):
        if name in BY_NAME:
            yield MetricSample(name, labels, total)


def _resources(seen: PodView) -> Iterator[MetricSample]:
    received, sent = seen.network
    working_set, limit = seen.memory()
    values: dict[str, Callable[[], float | None]] = {
        "bokeh_memory_rss_bytes": seen.rss_bytes,
        "bokeh_memory_working_set_bytes": lambda: working_set,
        "bokeh_memory_limit_bytes": lambda: limit,
        "bokeh_memory_oom_kills_total": lambda: seen.resource(lambda c: c.oom_kills),
        "bokeh_cpu_seconds_total": lambda: seen.cpu_seconds() if seen.has_agents else None,
        "bokeh_cpu_throttled_seconds_total": lambda: seen.resource(lambda c: c.throttled_seconds),
        "bokeh_cpu_throttled_periods_total": lambda: seen.resource(lambda c: c.throttled_periods),
        "bokeh_cpu_periods_total": lambda: seen.resource(lambda c: c.periods),
        "bokeh_network_receive_bytes_total": lambda: received,
        "bokeh_network_transmit_bytes_total": lambda: sent,
    }
    for name, read in values.items():
        value = read()
        if value is not None:
            yield MetricSample(name, (), value)
