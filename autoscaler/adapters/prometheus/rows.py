"""Conversion of the rows of a Prometheus answer to our samples. Pure, so every odd row is testable.

An instant query of a range selector returns series with raw samples, each with the time of its
scrape: `{"metric": {labels}, "values": [[seconds, "text"], ...]}`. Rows may come from any scraped
target, so no row may raise or affect the sample of another pod.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import ceil, isfinite
from typing import Any, NamedTuple

from autoscaler.model import Sample, Unavailable

PodKey = tuple[str, str]
# HPA computes with 64-bit integers, so no quantity is larger than this.
LARGEST = 2**63 - 1
# Unix seconds; later times are invalid, and the difference of two valid ones is finite.
LATEST = 1e12
EXACT, ESTIMATED = "exact", "estimated"


class Point(NamedTuple):
    """One sample of a series."""

    at: float
    value: float


class PodSeries(NamedTuple):
    """One series of one pod; its points ascend in time, are finite and not negative.

    part: values of the exporter's own labels, which distinguish the series of a pod.
    """

    pod: PodKey
    part: tuple[str, ...]
    points: tuple[Point, ...]


class Parts(NamedTuple):
    """The series of all pods, and the pods of which a series is unusable; they get no sample."""

    series: list[PodSeries]
    spoiled: frozenset[PodKey]


def series_of(rows: Iterable[Any], own: Sequence[str] = (), least: int = 1) -> Parts:
    """Return one series per pod and part; of several copies, the one with the newest point.
    own: labels that the exporter itself sets, which distinguish parts. All others (job, instance,
    container, endpoint, a replica of Prometheus) come from the scrape and distinguish copies.
    least: prefer copies with at least so many points.
    """
    best: dict[tuple[PodKey, tuple[str, ...]], PodSeries] = {}
    renamed = [(name, f"exported_{name}") for name in own]
    for labels, row in labelled(rows):
        if "namespace" not in labels or "pod" not in labels:
            continue
        pod = (str(labels["namespace"]), str(labels["pod"]))
        # If the target has a label of that name, Prometheus renames ours to exported_NAME.
        part = tuple([str(labels.get(other, labels.get(name, ""))) for name, other in renamed])
        series = PodSeries(pod, part, _points(row.get("values")))
        known = best.get((pod, part))
        if known is None or _rank(series, least) > _rank(known, least):
            best[pod, part] = series
    usable = [series for series in best.values() if series.points]
    return Parts(usable, frozenset(s.pod for s in best.values() if not s.points))


def _rank(series: PodSeries, least: int) -> tuple[bool, tuple[Point, ...]]:
    return len(series.points) >= least, series.points[-1:]


def labelled(rows: Iterable[Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the labels of each row with the row itself; what is no row is left out."""
    for row in rows if isinstance(rows, list) else ():
        labels = row.get("metric") if isinstance(row, dict) else None
        if isinstance(labels, dict):
            yield labels, row


def _points(values: Any) -> tuple[Point, ...]:
    points = [number_of(value) for value in values] if isinstance(values, list) else []
    return tuple(sorted([point for point in points if point is not None and point.value >= 0]))


def number_of(value: Any) -> Point | None:
    """Return a finite number with its time, or None if the value is not one."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    try:
        at, number = float(value[0]), float(value[1])
    except (TypeError, ValueError, OverflowError):
        return None
    return Point(at, number) if 0 <= at < LATEST and isfinite(number) else None


def gauges(rows: Iterable[Any], own: Sequence[str] = (), scale: int = 1) -> dict[PodKey, Sample]:
    """Return the latest value of each pod, summed over its parts, multiplied by `scale`.

    Its time is that of the oldest part, so that a part without new samples makes the value old.
    """
    return _sums(series_of(rows, own), lambda series: _latest(series, scale))


def highest(rows: Iterable[Any], scale: int = 1) -> dict[PodKey, Sample]:
    """Return the highest latest value of each pod's applications, multiplied by `scale`."""
    highest: dict[PodKey, Sample] = {}
    for series in series_of(rows, ("app",)).series:
        sample, known = _latest(series, scale), highest.get(series.pod)
        if sample is not None and (known is None or sample.value > known.value):
            highest[series.pod] = sample
    return highest


def _latest(series: PodSeries, scale: int) -> Sample | None:
    last = series.points[-1]
    return _sample(last.value * scale, last.at)


def without(rows: Iterable[Any], name: str) -> list[dict[str, Any]]:
    """Return the series of all metrics but one."""
    return [row for labels, row in labelled(rows) if labels.get("__name__") != name]


def named(rows: Iterable[Any], name: str) -> list[dict[str, Any]]:
    """Return the series of one metric."""
    return [row for labels, row in labelled(rows) if labels.get("__name__") == name]


def seats(rows: Iterable[Any], scrape_interval: float) -> dict[PodKey, Sample]:
    """Return the seats that the connected sessions of each pod take, rounded up."""
    milli = sessions(rows, scrape_interval, scale=1000)
    return {pod: each._replace(value=-(-each.value // 1000)) for pod, each in milli.items()}


def sessions(rows: Iterable[Any], scrape_interval: float, scale: int = 1) -> dict[PodKey, Sample]:
    """Return the connected sessions of each pod, summed over its applications, times `scale`.

    The agents' count is preferred to an estimate from the port's connections, unless it has ended:
    then the estimate is newer by more than one scrape.
    """
    found = series_of(rows, ("quality", "app"))
    newest: dict[PodKey, dict[str, float]] = {}
    for series in found.series:
        known = newest.setdefault(series.pod, {})
        known[series.part[0]] = max(known.get(series.part[0], 0.0), series.points[-1].at)
    chosen = {pod: _quality(known, scrape_interval) for pod, known in newest.items()}
    kept = [series for series in found.series if series.part[0] == chosen[series.pod]]
    return _sums(Parts(kept, found.spoiled), lambda series: _latest(series, scale))


def _quality(newest: Mapping[str, float], scrape_interval: float) -> str:
    last = max(newest, key=lambda quality: newest[quality])
    if EXACT in newest and newest[last] - newest[EXACT] <= scrape_interval:
        return EXACT
    return last


def containers(rows: Iterable[Any], scale: int) -> dict[PodKey, dict[str, Sample]]:
    """Return cAdvisor's latest value of each container of each pod, multiplied by `scale`."""
    found: dict[PodKey, dict[str, Sample]] = {}
    for series in series_of(rows, ("container",)).series:
        sample = _latest(series, scale)
        if sample is not None:
            found.setdefault(series.pod, {})[series.part[0]] = sample
    return found


def rates(rows: Iterable[Any], own: Sequence[str] = ()) -> dict[PodKey, Sample]:
    """Return the increase per second of each pod's counters, in milli-units rounded up."""
    found = series_of(rows, own, least=2)
    young = {series.pod for series in found.series if _span(series) <= 0}
    return _sums(Parts(found.series, found.spoiled | young), _rate)


def _rate(series: PodSeries) -> Sample | None:
    window = _span(series)
    rate = 1000 * increase(series.points) / window
    return _sample(rate, series.points[-1].at, window, up=True)


def _span(series: PodSeries) -> float:
    return series.points[-1].at - series.points[0].at


def increase(points: Sequence[Point]) -> float:
    """Return the increase of a counter; a decrease means that it restarted from 0."""
    grown = 0.0
    for before, after in pairwise(points):
        grown += after.value - before.value if after.value >= before.value else after.value
    return grown


def moves(
    rows: Iterable[Any], counter: str, orphaned: str, gauge: str, *, up: bool
) -> dict[PodKey, Sample]:
    """Return the arrivals (up) or departures per second of each pod, in thousandths.

    counter: name of the counter of sessions created (or destroyed). orphaned: name of the counter
    of sessions to which no client ever connected, which are subtracted. A pod without an agent has
    neither; the increases (or decreases) of its gauge are used instead. If a counter decreases, it
    has restarted, and its value then had been counted before.
    """
    found = series_of(rows, ("__name__", "app"), least=2)
    old = [series for series in found.series if _span(series) > 0]
    counting = {series.pod for series in old if series.part[0] == counter}
    signs = {counter: 1.0, orphaned: -1.0}

    def speed(series: PodSeries) -> Sample | None:
        window, name = _span(series), series.part[0]
        steps = [after.value - before.value for before, after in pairwise(series.points)]
        moved = sum(step for step in steps if step > 0)
        if name == gauge:
            moved = moved if up else sum(-step for step in steps if step < 0)
        return _sample(signs.get(name, 1.0) * 1000 * moved / window, series.points[-1].at, window)

    kept = [s for s in old if (s.part[0] == gauge) != (s.pod in counting)]
    sums = _sums(Parts(kept, found.spoiled), speed)
    return {pod: each._replace(value=max(0, each.value)) for pod, each in sums.items()}


def _sums(found: Parts, of: Callable[[PodSeries], Sample | None]) -> dict[PodKey, Sample]:
    """Return the sum of each pod's parts; a pod is left out if one of its parts has no value."""
    sums: dict[PodKey, Sample] = {}
    spoiled = set(found.spoiled)
    for series in found.series:
        if series.pod in spoiled:
            continue
        part = of(series)
        if part is None:
            spoiled.add(series.pod)
            continue
        known = sums.get(series.pod, Sample(0, part.at))
        total, at = known.value + part.value, min(known.at, part.at)
        sums[series.pod] = Sample(total, at, max(known.window, part.window))
    return {pod: each for pod, each in sums.items() if pod not in spoiled}


def _sample(value: float, at: float, window: float = 0.0, *, up: bool = False) -> Sample | None:
    if not abs(value) <= LARGEST:
        return None
    return Sample(ceil(value - 1e-9) if up else round(value), at, window)


class QueryResult(NamedTuple):
    """The result of one query. kind: `scalar`, `vector` or `matrix`, or "" if it is none."""

    number: Sample | Unavailable
    kind: str = ""
    series: int = 0


def single(result: Any) -> QueryResult:
    """Return the one number of a query in milli-units, or why there is none."""
    if not isinstance(result, list):
        return QueryResult(Unavailable("the query returned an unreadable result"))
    if len(result) == 2 and not isinstance(result[0], Mapping | list):
        return QueryResult(_number(result), "scalar", 1)  # [seconds, "text"]
    if not result:
        return QueryResult(Unavailable("the query returned no series"), "vector")
    if len(result) > 1:
        problem = f"the query returned {len(result)} series, expected 1; wrap it in sum(...)"
        return QueryResult(Unavailable(problem), "vector", len(result))
    return _of_row(result[0] if isinstance(result[0], Mapping) else {})


def _of_row(row: Mapping[str, Any]) -> QueryResult:
    if "values" in row:
        problem = "the query returned samples over time, expected one number; wrap it in rate(...)"
        return QueryResult(Unavailable(problem), "matrix", 1)
    if "histogram" in row:
        problem = "the query returned a histogram, expected one number"
        return QueryResult(Unavailable(problem), "vector", 1)
    return QueryResult(_number(row.get("value")), "vector", 1)


def _number(value: Any) -> Sample | Unavailable:
    point = number_of(value)
    if point is not None and point.value >= 0:
        sample = _sample(1000 * point.value, point.at)
        if sample is not None:
            return sample
    shown = str(value[1])[:40] if isinstance(value, list) and len(value) == 2 else "no number"
    least = "expected a number of at least 0"
    limit = f" and below {LARGEST / 1000:.0e}" if point is not None and point.value > 0 else ""
    return Unavailable(f"the query returned {shown}, {least}{limit}")


# The names that other scrape configurations use for the labels `pod` and `namespace`.
_OTHER_NAMES = {
    "pod": ("kubernetes_pod_name", "k8s_pod_name", "pod_name", "kubernetes_pod", "exported_pod"),
    "namespace": (
        "kubernetes_namespace",
        "k8s_namespace_name",
        "kubernetes_namespace_name",
        "namespace_name",
        "exported_namespace",
    ),
}


def lost_labels(rows: Iterable[Any], metric: str) -> str | None:
    """Return how to fix series that lack the name of their pod, or None if there are none."""
    lost = [labels for labels, _ in labelled(rows) if _lacks(labels)]
    if not lost:
        return None
    labels = lost[0]
    if "pod" in labels and "namespace" in labels:
        return (
            f"{len(lost)} series of {metric} have the name of their pod in exported_pod, because "
            "another pod exports them; set honor_labels: true in that scrape job"
        )
    missing = [name for name in _OTHER_NAMES if name not in labels]
    found = [other for name in missing for other in _OTHER_NAMES[name] if other in labels]
    have = f" (they have {' and '.join(found)})" if found else ""
    source = {"pod": "__meta_kubernetes_pod_name", "namespace": "__meta_kubernetes_namespace"}
    rules = ", ".join(
        f"{{source_labels: [{source[name]}], target_label: {name}}}" for name in missing
    )
    return (
        f"{len(lost)} series of {metric} lack the label {' and '.join(missing)}{have}; "
        f"add to relabel_configs of that scrape job: {rules}"
    )


def _lacks(labels: Mapping[str, Any]) -> bool:
    return "pod" not in labels or "namespace" not in labels or "exported_pod" in labels
