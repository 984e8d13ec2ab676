"""Every odd row that Prometheus may answer, as a sample or as a missing one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.prometheus.rows import (
    Point,
    containers,
    gauges,
    increase,
    moves,
    rates,
    seats,
    sessions,
    single,
)
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
        pytest.param(
            [row((10, "3"), app="/a"), row((10, "NaN"), app="/b")],
            None,
            id="a part that is missing is no zero",
        ),
        pytest.param(
            [row((10, "3"), app="/a"), row((10, "1e306"), app="/b")],
            None,
            id="a part beyond every number",
        ),
        pytest.param(
            [row((10, "3"), container="app"), row((9, "3"), container="exporter", endpoint="x")],
            Sample(3, 10.0),
            id="scraped by two jobs with labels of their own",
        ),
        pytest.param(
            [
                row((10, "3"), app="/a"),
                row((10, "3"), app="bokeh", exported_app="/a"),
                row((10, "5"), app="bokeh", exported_app="/b"),
            ],
            Sample(8, 10.0),
            id="a target's own label app hides no application and doubles none",
        ),
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
    assert sessions(answer, scrape_interval=15.0).get(POD) == expected


def counted(at: float, value: str, quality: str, **labels: str) -> dict[str, Any]:
    return row((at, value), quality=quality, **labels)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(
            [counted(10, "3", "exact", app="/a"), counted(14, "9", "estimated", app="")],
            3,
            id="exact beats an estimate of the same time",
        ),
        pytest.param(
            [
                counted(10, "3", "exact", app="/a"),
                counted(10, "4", "exact", app="/b"),
                counted(10, "9", "estimated", app=""),
            ],
            7,
            id="all that is exact",
        ),
        pytest.param(
            [counted(10, "3", "exact", app="/a"), counted(30, "9", "estimated", app="")],
            9,
            id="what was exact has ended",
        ),
        pytest.param(
            [counted(10, "9", "estimated", app=""), counted(30, "3", "exact", app="/a")],
            3,
            id="an agent came",
        ),
        pytest.param([counted(10, "9", "estimated", app="")], 9, id="nothing is exact"),
    ],
)
def test_a_pod_is_counted_by_one_quality(answer: list[dict[str, Any]], expected: int) -> None:
    assert sessions(answer, scrape_interval=15.0)[POD].value == expected
    assert sessions(answer[::-1], scrape_interval=15.0)[POD].value == expected


def test_seats_are_rounded_up_once_for_each_pod() -> None:
    parts = [counted(10, "0.5", "exact", app=f"/{n}") for n in range(3)]
    assert seats(parts, scrape_interval=15.0)[POD].value == 2


def test_memory_is_no_sum_over_the_jobs_that_scrape_it() -> None:
    answer = [row((10, "5"), container="app"), row((11, "6"), container="exporter")]
    assert gauges(answer, scale=1000)[POD] == Sample(6000, 11.0)


def test_the_containers_of_cadvisor_stay_apart() -> None:
    answer = [
        row((10, "5"), container="app", id="/old"),
        row((12, "3"), container="app", id="/new"),
        row((11, "6"), container="proxy"),
    ]
    assert containers(answer, 1000)[POD] == {"app": Sample(3000, 12.0), "proxy": Sample(6000, 11.0)}


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
        pytest.param(
            [row((0, "0"), (60, "6"), container="a"), row((60, "3"), container="b")],
            None,
            id="a container without a rate is no zero",
        ),
        pytest.param(
            [row((0, "0"), (60, "6"), container="a"), row((61, "6"), container="a", job="new")],
            Sample(100, 60.0, 60.0),
            id="a job that has just begun to scrape has no rate yet",
        ),
        pytest.param([row((0, "5"))], None, id="one sample is no rate"),
        pytest.param([row((5, "5"), (5, "5"))], None, id="no time between is no rate"),
    ],
)
def test_a_rate_of_a_pod(answer: list[dict[str, Any]], expected: Sample | None) -> None:
    assert rates(answer, ("container",)).get(POD) == expected


def count(name: str, *values: float, **labels: str) -> dict[str, Any]:
    """Scraped every 10 s."""
    return row(*((10.0 * n, str(v)) for n, v in enumerate(values)), __name__=name, **labels)


@pytest.mark.parametrize(
    ("answer", "came"),
    [
        pytest.param([count("created", 5, 8, 11)], 300, id="a counter"),
        pytest.param(
            [count("created", 5, 8, app="/a"), count("created", 0, 2, app="/b")], 500, id="two apps"
        ),
        pytest.param(
            [count("created", 5, 15), count("orphaned", 2, 9)], 300, id="less what nobody opened"
        ),
        pytest.param(
            [count("created", 5, 6), count("orphaned", 2, 9)], 0, id="never less than nobody"
        ),
        pytest.param([count("created", 90, 70, 72)], 100, id="begun anew, at 70 that came before"),
        pytest.param([count("created", 90)], None, id="one scrape tells nothing"),
        pytest.param([count("created", 5, "NaN")], None, id="one and a NaN neither"),
        pytest.param([count("sessions", 5, 8, 4)], 150, id="without a counter, the steps up"),
        pytest.param(
            [count("created", 5, 5), count("sessions", 5, 8)], 0, id="with one, no steps count"
        ),
        pytest.param([count("orphaned", 5, 8)], None, id="orphans alone tell nothing"),
        pytest.param(
            [count("created", 5, 8, job="a"), count("created", 5, 8, job="b")], 300, id="two jobs"
        ),
    ],
)
def test_who_came_to_a_pod(answer: list[dict[str, Any]], came: int | None) -> None:
    found = moves(answer, "created", "orphaned", "sessions", up=True).get(POD)
    assert (found and found.value) == came


def test_without_a_counter_who_left_are_the_steps_down() -> None:
    left = moves([count("sessions", 5, 8, 4)], "destroyed", "orphaned", "sessions", up=False)
    assert left[POD].value == 200


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ([{"metric": {}, "value": [7, "1.5"]}], Sample(1500, 7.0)),
        ([7, "1.5"], Sample(1500, 7.0)),
        ([], Unavailable("the query returned no series")),
        (
            [{"metric": {"a": "1"}, "value": [7, "1"]}, {"metric": {"a": "2"}, "value": [7, "1"]}],
            Unavailable("the query returned 2 series, expected 1; wrap it in sum(...)"),
        ),
        (
            [{"metric": {}, "value": [7, "NaN"]}],
            Unavailable("the query returned NaN, expected a number of at least 0"),
        ),
        (
            [{"metric": {}, "values": [[7, "1"]]}],
            Unavailable(
                "the query returned samples over time, expected one number; wrap it in rate(...)"
            ),
        ),
    ],
    ids=["a vector", "a scalar", "nothing", "several", "NaN", "a range"],
)
def test_the_single_number_of_a_query(result: list[Any], expected: Sample | Unavailable) -> None:
    assert single(result).number == expected


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["metric", "value", "values", "histogram", "namespace", "pod", "app"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.lists(ANYTHING, max_size=4) | ANYTHING)
def test_no_answer_of_any_shape_raises(result: Any) -> None:
    assert isinstance(single(result).number, Sample | Unavailable)
    good = row((0, "1"), (10, "2"), __name__="created", quality="exact")
    rows = [*result, good] if isinstance(result, list) else [good]
    for found in (
        gauges(rows, scale=1000),
        rates(rows),
        sessions(rows, 15.0),
        moves(rows, "created", "orphaned", "sessions", up=True),
        containers(rows, 1),
    ):
        assert POD in found


@given(st.lists(st.floats(0, 1e9), min_size=2))
def test_a_counter_never_grows_by_less_than_nothing(values: list[float]) -> None:
    points = [Point(float(at), value) for at, value in enumerate(values)]

    assert increase(points) >= 0
    assert increase(sorted(points, key=lambda p: p.value)) == pytest.approx(
        max(values) - min(values), abs=1e-3
    )


@pytest.mark.parametrize("at", [1e308, -1e308, -1.0, 1e12])
def test_a_point_of_no_possible_time_is_none(at: float) -> None:
    row = {"metric": {"namespace": "a", "pod": "p"}, "values": [[10.0, "1"], [at, "2"]]}

    assert rates([row]) == {}
    assert gauges([row])["a", "p"].value == 1
