"""How much the pods of a Deployment had to do, from the recorded history of their exporters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from autoscaler.adapters.prometheus.http import PrometheusSettings
from autoscaler.adapters.prometheus.ranges import PER_POD, RangeQueries, by_pod
from autoscaler.adapters.prometheus.rows import LARGEST
from autoscaler.model import PodLoad, TargetRef

# The queries, by what they return of each pod. An exporter of an older version does not measure the
# busy time of event loops, but their CPU time.
_BUSY = "max by (pod) (rate(bokeh_event_loop_{}_seconds_total{{pods}}[{{window}}]))"
_LAGS = "sum by (pod, le) (rate(bokeh_event_loop_lag_seconds_bucket{pods}[{window}]))"
_QUERIES = {
    # What sessions cost is told by the seats that they take, where the app has said that.
    "sessions": f"{by_pod('bokeh_seats_taken{pods}')} or {PER_POD}",
    "busy": f"({_BUSY.format('busy')} or {_BUSY.format('cpu')})"
    " / (max by (pod) (bokeh_workers{pods}) > 0)",
    "memory": "max by (pod) (bokeh_memory_working_set_bytes{pods})",
    "limit": "max by (pod) (bokeh_memory_limit_bytes{pods})",
    "lag": f"histogram_quantile(0.95, {_LAGS})",
}

# About so many loads are read at most: those of 25 pods in a week. Each takes 0.7 kB of memory, so
# that those of a large fleet would take more than a daemon has.
MOST_LOADS = 50_000
_PODS = "count(count by (pod) (bokeh_sessions{connected}))"
_COUNTED_EACH = 3_600
# The characters of which Kubernetes makes the ends of the names of pods, at random.
_ENDS = "bcdfghjklmnpqrstvwxz2456789"

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
        """Return the loads of all pods, or of some of many.

        progress: called with the share that is done.
        """
        last = int(end) // step * step
        first = last - round(span) // step * step
        some = _ends_with(MOST_LOADS / max(1.0, self._number(ref, first, last, step)))
        found: dict[str, Values] = {}
        for number, (name, query) in enumerate(_QUERIES.items()):
            text = self._queries.restricted(query, ref, step, some)
            found[name] = self._by_pod(text, first, last, step)
            progress((number + 1) / len(_QUERIES))
        return {pod: _loads(pod, found, step) for pod in found["sessions"]}

    def _number(self, ref: TargetRef, first: int, last: int, step: int) -> float:
        """Return about how many loads all pods have."""
        each = max(step, _COUNTED_EACH)
        query = self._queries.restricted(_PODS, ref, step)
        counts = self._queries.points(query, first, last, each, lambda _: None)
        return sum(count for _, count in counts) * each / step

    def _by_pod(self, query: str, first: int, last: int, step: int) -> Values:
        values: dict[str, dict[float, float]] = {}
        for labels, points, _ in self._queries.rows(query, first, last, step):
            of_pod = values.setdefault(str(labels.get("pod", "")), {})
            of_pod |= {point.at: point.value for point in points if 0 <= point.value <= LARGEST}
        return values


def _ends_with(share: float) -> str:
    """Return a matcher of about this share of all pods, by how their names end; "": of all."""
    if share >= 1:
        return ""
    number = len(_ENDS)
    if share * number >= 1:
        return f',pod=~".*[{_ENDS[: int(share * number)]}]"'
    return f',pod=~".*[{_ENDS[: max(1, int(share * number**2))]}]{_ENDS[0]}"'


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
