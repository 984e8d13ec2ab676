"""/metrics: an observation as Prometheus text 0.0.4 or OpenMetrics 1.0, after the metric table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.exposition import generate_latest as text
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from exporter.metrics import BY_NAME, CONNECTION_STATES, SESSION_STATES, TABLE, MetricSpec
from exporter.observe import Observation
from exporter.report import HistogramTotal

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Sample(NamedTuple):
    """A value of a metric of the table; `labels` are in the order of its spec."""

    name: str
    labels: tuple[str, ...]
    value: float | HistogramTotal


def render(seen: Observation, accept: str) -> tuple[bytes, str]:
    """The body and its Content-Type, in the format that the Accept header prefers."""
    as_openmetrics = prefers_openmetrics(accept)
    families = Families(samples(seen))
    if as_openmetrics:
        return openmetrics(families), OPENMETRICS  # type: ignore[no-untyped-call]
    return text(families), TEXT


def prefers_openmetrics(accept: str) -> bool:
    """Whether an Accept header weighs OpenMetrics above text; Prometheus sends both with q."""
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
    """Samples grouped into prometheus_client's families, in the order of the table."""

    def __init__(self, all_samples: Iterable[Sample]) -> None:
        self._by_name: dict[str, list[Sample]] = {}
        for sample in all_samples:
            self._by_name.setdefault(sample.name, []).append(sample)

    def collect(self) -> Iterator[Metric]:
        """One family for each metric that has samples."""
        for spec in TABLE:
            if spec.name in self._by_name:
                yield _family(spec, self._by_name[spec.name])


def _family(spec: MetricSpec, own: Iterable[Sample]) -> Metric:
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


def samples(seen: Observation) -> Iterator[Sample]:
    """Every sample of an observation."""
    yield Sample("bokeh_up", (), float(seen.up))
    yield Sample("bokeh_workers", (), len(seen.collected.workers))
    yield Sample("bokeh_draining", (), float(seen.collected.draining))
    yield Sample("bokeh_exporter_build_info", (own_version(),), 1)
    yield from _workers(seen)
    yield from _apps(seen)
    yield from _totals(seen)
    yield from _resources(seen)


@cache
def own_version() -> str:
    """The installed version of this package, empty when run from a bare copy."""
    try:
        return version("bokeh-autoscaler")
    except PackageNotFoundError:
        return ""


def _workers(seen: Observation) -> Iterator[Sample]:
    """By slot; should two servers of one pod share a slot, the worse of both is shown."""
    slots: dict[str, list[tuple[float, float, float]]] = {}
    for worker in seen.collected.workers:
        busy = worker.report.utilization if worker.report is not None else 0.0
        slots.setdefault(worker.name.slot, []).append((float(worker.ok), worker.stalled_s, busy))
    for slot, seen_here in slots.items():
        ok, stalled, shares = zip(*seen_here, strict=True)
        yield Sample("bokeh_worker_up", (slot,), min(ok))
        yield Sample("bokeh_worker_stalled_seconds", (slot,), max(stalled))
        yield Sample("bokeh_event_loop_utilization_ratio", (slot,), max(shares))
    info = BY_NAME["bokeh_server_info"].labels
    for values in sorted(
        {tuple(report.info.get(label, "") for label in info) for report in seen.collected.reports}
    ):
        yield Sample("bokeh_server_info", values, 1)


def _apps(seen: Observation) -> Iterator[Sample]:
    for url, app in sorted(seen.apps.items()):
        for state in SESSION_STATES:
            yield Sample("bokeh_sessions", (url, state, seen.quality), getattr(app, state))
        for state in CONNECTION_STATES:
            yield Sample("bokeh_connections", (url, state, seen.quality), getattr(app, state))
        if seen.port is None:
            yield Sample("bokeh_session_oldest_age_seconds", (url,), app.oldest_age_s)
            yield Sample("bokeh_last_client_activity_timestamp_seconds", (url,), app.last_activity)


def _totals(seen: Observation) -> Iterator[Sample]:
    """What the agents counted, whichever metrics of the table these are; CPU is a resource."""
    for (name, labels), value in sorted(seen.collected.counters.items()):
        if name in BY_NAME and name != "bokeh_cpu_seconds_total":
            yield Sample(name, labels, value)
    for (name, labels), total in sorted(seen.collected.histograms.items(), key=lambda i: i[0]):
        if name in BY_NAME:
            yield Sample(name, labels, total)


def _resources(seen: Observation) -> Iterator[Sample]:
    received, sent = seen.network
    values: dict[str, Callable[[], float | None]] = {
        "bokeh_memory_rss_bytes": seen.rss_bytes,
        "bokeh_memory_working_set_bytes": seen.working_set_bytes,
        "bokeh_memory_limit_bytes": lambda: seen.resource(lambda c: c.limit_bytes),
        "bokeh_memory_oom_kills_total": lambda: seen.resource(lambda c: c.oom_kills),
        "bokeh_cpu_seconds_total": lambda: seen.cpu_seconds() if seen.port is None else None,
        "bokeh_cpu_throttled_seconds_total": lambda: seen.resource(lambda c: c.throttled_seconds),
        "bokeh_cpu_throttled_periods_total": lambda: seen.resource(lambda c: c.throttled_periods),
        "bokeh_cpu_periods_total": lambda: seen.resource(lambda c: c.periods),
        "bokeh_network_receive_bytes_total": lambda: received,
        "bokeh_network_transmit_bytes_total": lambda: sent,
    }
    for name, read in values.items():
        value = read()
        if value is not None:
            yield Sample(name, (), value)
