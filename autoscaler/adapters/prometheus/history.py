"""The recorded history of one Deployment: aggregated by Prometheus, and fetched in chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from autoscaler.adapters.prometheus.http import PrometheusSettings
from autoscaler.adapters.prometheus.ranges import ARRIVAL_RATE, PER_POD, RangeQueries, by_app
from autoscaler.adapters.prometheus.rows import LARGEST
from autoscaler.errors import MetricsError
from autoscaler.model import TargetRef
from autoscaler.simulation.history import History, Series
from autoscaler.units import duration_text

# Points of a whole history; the step becomes longer than a scrape interval if it would have more.
MOST_STEPS = 100_000
# Seconds between the points of slow signals.
COARSE, DAY = 300, 86_400


# The queries, by what they return. What is in braces is replaced by matchers of the target.
_ENDED = by_app("increase(bokeh_session_duration_seconds_bucket{pods}[{day}])", "le")
_FINE = {
    "sessions": f"sum({PER_POD})",
    "arrival_rate": ARRIVAL_RATE,
    "desired": 'max(bokeh_autoscaler_replicas{daemon,kind="desired"})',
    "ready": 'max(bokeh_autoscaler_replicas{daemon,kind="ready"})',
}
_COARSE = {
    "fullest": f"max({PER_POD})",
    "mean_sessions": f"avg({PER_POD})",
    "mean_cpu": "avg(max by (pod) (rate(bokeh_cpu_seconds_total{pods}[5m])))",
    "mean_memory": "avg(max by (pod) (bokeh_memory_working_set_bytes{pods}))",
}
_LENGTHS = f"sum by (le) ({_ENDED})"


class PrometheusHistory:
    """Reads the history of a Deployment."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings
        self._queries = RangeQueries(settings)

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

            text = self._queries.restricted(query, target, step)
            found[name] = dict(self._queries.points(text, first, last, every, share))
            if name == "sessions" and not found[name]:
                raise self._nothing(text, target, span)
        day = min(DAY, last - first)
        text = self._queries.restricted(_LENGTHS, target, step).replace("{day}", f"{day}s")
        lengths = self._lengths(text, first + day, last)
        progress(1.0)
        return History(start=first, end=last, step=step, lengths=lengths, **found)

    def arrivals(self, ref: TargetRef, end: float, span: float, slot: int) -> Mapping[int, float]:
        """Implement `ports.ArrivalHistory`. A day is one query."""
        last = int(end) // slot
        first = last - round(span) // slot + 1
        query = self._queries.restricted(ARRIVAL_RATE, ref, slot)
        points = self._queries.points(query, first * slot, last * slot, slot, lambda _: None)
        rates = {round(at / slot) - 1: max(0.0, rate) for at, rate in points if rate <= LARGEST}
        return {number: rate for number, rate in rates.items() if first - 1 <= number < last}

    def _lengths(self, query: str, first: int, last: int) -> dict[float, float]:
        """Return how many sessions ended within each length in seconds, over the whole time."""
        lengths: dict[float, float] = {}
        for labels, points, _ in self._queries.rows(query, first, last, DAY):
            if (bound := _bound(str(labels.get("le", "")))) is not None:
                ended = sum(point.value for point in points)
                lengths[bound] = lengths.get(bound, 0.0) + ended
        return dict(sorted(lengths.items()))

    def _nothing(self, query: str, target: tuple[str, str], span: float) -> MetricsError:
        return self._queries.session.failure(
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
