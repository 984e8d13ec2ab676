"""Every odd row that Prometheus may answer, as a sample or as a missing one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.prometheus_rows import Point, gauges, increase, rates, single
from autoscaler.model import Sample, Unavailable

POD = ("bokeh", "pod-0")


def row(*values: tuple[float, str], **labels: str) -> dict[str, Any]:
    pod = {"namespace": "bokeh", "pod": "pod-0"}
    return {"metric": {**pod, **labels}, "values": [list(value) for value in values]}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param([row((10, "3"))], Sample(3, 10.0), id="one sample"),
        pytest.param([row((10, "3"), (15, "5"))], Sample(5, 15.0), id="the latest counts"),
        pytest.param(
            [row((10, "3"), app="/a"), row((10, "4"), app="/b")],
            Sample(7, 10.0),
            id="apps add up",
        ),
        pytest.param(
            [row((15, "3"), app="/a"), row((10, "4"), app="/b")],
            Sample(7, 10.0),
            id="the time is that of the oldest part",
        ),
        pytest.param(
            [row((10, "3"), job="a"), row((12, "4"), job="b")],
            Sample(4, 12.0),
            id="scraped twice is counted once, the newest",
        ),
        pytest.param([row((10, "3"), (15, "NaN"))], Sample(3, 10.0), id="NaN is missing"),
        pytest.param([row((10, "+Inf"))], None, id="infinity is missing"),
        pytest.param([row((10, "-1"))], None, id="negative is missing"),
        pytest.param([row()], None, id="no sample is missing"),
        pytest.param(
            [{"metric": {"instance": "x"}, "values": [[10, "3"]]}], None, id="no pod label"
        ),
        pytest.param([], None, id="an empty answer"),
    ],
)
def test_a_gauge_of_a_pod(answer: list[dict[str, Any]], expected: Sample | None) -> None:
    assert gauges(answer).get(POD) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param([row((0, "0"), (60, "30"))], Sample(500, 60.0, 60.0), id="half a core"),
        pytest.param(
            [row((0, "1"), (30, "2"), (60, "2.5"))], Sample(25, 60.0, 60.0), id="first to last"
        ),
        pytest.param(
            [row((0, "90"), (30, "100"), (60, "5"))],
            Sample(250, 60.0, 60.0),
            id="a restart begins at 0",
        ),
        pytest.param(
            [row((0, "0"), (60, "6"), container="a"), row((0, "0"), (60, "3"), container="b")],
            Sample(150, 60.0, 60.0),
            id="containers add up",
        ),
        pytest.param([row((0, "5"))], None, id="one sample is no rate"),
        pytest.param([row((5, "5"), (5, "5"))], None, id="no time between is no rate"),
    ],
)
def test_a_rate_of_a_pod(answer: list[dict[str, Any]], expected: Sample | None) -> None:
    assert rates(answer).get(POD) == expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ([{"metric": {}, "value": [7, "1.5"]}], Sample(1500, 7.0)),
        ([7, "1.5"], Sample(1500, 7.0)),
        ([], Unavailable("the query returned nothing")),
        (
            [{"metric": {"a": "1"}, "value": [7, "1"]}, {"metric": {"a": "2"}, "value": [7, "1"]}],
            Unavailable("the query returned 2 series, expected 1: wrap it in sum(...)"),
        ),
        (
            [{"metric": {}, "value": [7, "NaN"]}],
            Unavailable("the query returned NaN, expected a number of at least 0"),
        ),
        (
            [{"metric": {}, "values": [[7, "1"]]}],
            Unavailable("the query returned NaN, expected a number of at least 0"),
        ),
    ],
    ids=["a vector", "a scalar", "nothing", "several", "NaN", "a range"],
)
def test_the_single_number_of_a_query(result: list[Any], expected: Sample | Unavailable) -> None:
    assert single(result) == expected


@given(st.lists(st.floats(0, 1e9), min_size=2))
def test_a_counter_never_grows_by_less_than_nothing(values: list[float]) -> None:
    points = [Point(float(at), value) for at, value in enumerate(values)]

    assert increase(points) >= 0
    assert increase(sorted(points, key=lambda p: p.value)) == pytest.approx(
        max(values) - min(values), abs=1e-3
    )
