"""Rows of a Prometheus answer as our samples. Pure, so that every odd row has a test of its own.

A row of a range selector asked at one instant is a series with its raw samples, each with the time
at which it was scraped: `{"metric": {labels}, "values": [[seconds, "text"], ...]}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import ceil, isfinite
from typing import Any, NamedTuple

from autoscaler.model import Sample, Unavailable

Row = Mapping[str, Any]
PodKey = tuple[str, str]
# Labels that tell apart series which add up; all others (job, instance, replica) tell copies apart.
PARTS = ("app", "container", "quality")


class Point(NamedTuple):
    """One sample of a series."""

    at: float
    value: float


class Series(NamedTuple):
    """One series of one pod; points ascend in time and are finite and not negative."""

    pod: PodKey
    part: tuple[str | None, ...]
    points: tuple[Point, ...]


def series_of(rows: Iterable[Row]) -> list[Series]:
    """The usable series: one for each pod and part, the one with the newest sample."""
    newest: dict[tuple[PodKey, tuple[str | None, ...]], Series] = {}
    for row in rows:
        labels = row.get("metric", {})
        points = tuple(_points(row.get("values", ())))
        if "namespace" not in labels or "pod" not in labels or not points:
            continue
        pod = (labels["namespace"], labels["pod"])
        part = tuple(labels.get(name) for name in PARTS)
        known = newest.get((pod, part))
        if known is None or points[-1] > known.points[-1]:
            newest[pod, part] = Series(pod, part, points)
    return list(newest.values())


def _points(values: Iterable[Sequence[Any]]) -> Iterator[Point]:
    for at, text in values:
        value = float(text)
        if isfinite(value) and value >= 0:
            yield Point(float(at), value)


def gauges(rows: Iterable[Row], scale: int = 1) -> dict[PodKey, Sample]:
    """The latest value of each pod, summed over its parts, times `scale`.

    Its time is that of the oldest part, so one part that stopped makes the pod's number old.
    """
    sums: dict[PodKey, Sample] = {}
    for series in series_of(rows):
        last = series.points[-1]
        _add(sums, series.pod, Sample(round(last.value * scale), last.at))
    return sums


def rates(rows: Iterable[Row]) -> dict[PodKey, Sample]:
    """Increase a second of each pod's counters, in milli-units rounded up, from first to last."""
    sums: dict[PodKey, Sample] = {}
    for series in series_of(rows):
        if len(series.points) < 2:
            continue
        window = series.points[-1].at - series.points[0].at
        if window > 0:
            rate = ceil(1000 * increase(series.points) / window - 1e-9)
            _add(sums, series.pod, Sample(rate, series.points[-1].at, window))
    return sums


def increase(points: Sequence[Point]) -> float:
    """How much a counter grew; a drop is a restart from 0."""
    grown = 0.0
    for before, after in pairwise(points):
        grown += after.value - before.value if after.value >= before.value else after.value
    return grown


def _add(sums: dict[PodKey, Sample], pod: PodKey, part: Sample) -> None:
    known = sums.get(pod)
    if known is None:
        sums[pod] = part
        return
    total, at = known.value + part.value, min(known.at, part.at)
    sums[pod] = Sample(total, at, max(known.window, part.window))


def single(result: Sequence[Any]) -> Sample | Unavailable:
    """The one number of a query, in milli-units; else why it is not one."""
    if len(result) == 2 and not isinstance(result[0], Mapping):
        return _number(result)  # a scalar: [seconds, "text"]
    if not result:
        return Unavailable("the query returned nothing")
    if len(result) > 1:
        return Unavailable(
            f"the query returned {len(result)} series, expected 1: wrap it in sum(...)"
        )
    return _number(result[0].get("value", (0, "NaN")))


def _number(point: Sequence[Any]) -> Sample | Unavailable:
    value = float(point[1])
    if not isfinite(value) or value < 0:
        return Unavailable(f"the query returned {point[1]}, expected a number of at least 0")
    return Sample(round(value * 1000), float(point[0]))
