"""How much the pods of a Deployment had to do, from the recorded history of their exporters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from autoscaler.adapters.prometheus.http import PrometheusSettings
from autoscaler.adapters.prometheus.ranges import PER_POD, RangeQueries, by_app
from autoscaler.model import PodLoad, TargetRef

# The queries, by what they return of each pod. An exporter of an older version does not measure the
# busy time of event loops, but their CPU time.
_BUSY = "max by (pod) (rate(bokeh_event_loop_{}_seconds_total{{pods}}[{{window}}]))"
_LAGS = "sum by (pod, le) (rate(bokeh_event_loop_lag_seconds_bucket{pods}[{window}]))"
# What sessions cost is told by the seats that they take, where the app has said that.
_SEATS = f"max by (pod) (sum by (pod, quality) ({by_app('bokeh_seats_taken{pods}', 'quality')}))"
_QUERIES = {
    "sessions": f"{_SEATS} or {PER_POD}",
    "busy": f"({_BUSY.format('busy')} or {_BUSY.format('cpu')})"
    " / (max by (pod) (bokeh_workers{pods}) > 0)",
    "memory": "max by (pod) (bokeh_memory_working_set_bytes{pods})",
    "limit": "max by (pod) (bokeh_memory_limit_bytes{pods})",
    "lag": f"histogram_quantile(0.95, {_LAGS})",
}

Values = Mapping[str, Mapping[float, float]]


class PrometheusLoads:
    """Implements `ports.LoadHistory`."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._queries = RangeQueries(settings)

    def loads(
        self,
        ref: TargetRef,
        end: float,
        span: float,
        step: int,
        progress: Callable[[float], None] = lambda _: None,
    ) -> Mapping[str, Sequence[PodLoad]]:
        """Return the loads of all pods. progress: called with the share that is done."""
        last = int(end) // step * step
        first = last - round(span) // step * step
        found: dict[str, Values] = {}
        for number, (name, query) in enumerate(_QUERIES.items()):
            text = self._queries.restricted(query, ref, step)
            found[name] = self._by_pod(text, first, last, step)
            progress((number + 1) / len(_QUERIES))
        return {pod: _loads(pod, found, step) for pod in found["sessions"]}

    def _by_pod(self, query: str, first: int, last: int, step: int) -> Values:
        values: dict[str, dict[float, float]] = {}
        for labels, points, _ in self._queries.rows(query, first, last, step):
            of_pod = values.setdefault(str(labels.get("pod", "")), {})
            of_pod |= {point.at: point.value for point in points if point.value >= 0}
        return values


def _loads(pod: str, found: Mapping[str, Values], step: int) -> Sequence[PodLoad]:
    """Return the loads of a pod between times that both have a number of sessions."""
    sessions = found["sessions"][pod]
    of = {name: values.get(pod, {}) for name, values in found.items() if name != "sessions"}
    return [
        PodLoad(
            at=at,
            sessions=(sessions[before] + sessions[at]) / 2,
            busy=min(1.0, of["busy"][at]) if at in of["busy"] else None,
            memory=of["memory"].get(at),
            limit=of["limit"].get(at),
            lag=of["lag"].get(at),
        )
        for before, at in pairwise(sorted(sessions))
        if at - before <= step
    ]
