"""Intervals of a run's figures: what days they are made of, and what they hold."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.simulation.engine import Assumptions, simulate
from autoscaler.simulation.intervals import (
    Day,
    cost_difference,
    cost_interval,
    day_edges,
    days_of,
    refused_difference,
    refused_interval,
    refused_percent,
    relative_cost,
    replica_hours,
)
from autoscaler.simulation.score import score
from autoscaler.simulation.workloads import MONDAY, overnight_tail, viral_spike
from tests.builders import policy

DAY = 86_400.0
DAYS = st.lists(
    st.builds(Day, st.integers(1, 500), st.integers(0, 1), st.floats(1.0, 99.0), st.just(24.0)),
    min_size=3,
    max_size=30,
)


@pytest.mark.parametrize(
    ("zone", "start", "hours"),
    [
        pytest.param("UTC", "2026-01-12T08:30", [15.5, 24, 8], id="parts of the first and last"),
        pytest.param("Europe/Berlin", "2026-03-28T22:00", [1, 23, 23.5], id="a shorter day"),
    ],
)
def test_a_day_begins_at_midnight_of_the_zone(zone: str, start: str, hours: list[float]) -> None:
    begin = MONDAY.fromisoformat(f"{start}+00:00").timestamp()
    edges = day_edges(begin, begin + 3_600 * sum(hours), zone)
    lengths = [(after - before) / 3_600 for before, after in pairwise(edges)]
    assert lengths == hours


@pytest.mark.parametrize("workload", [viral_spike, overnight_tail])
def test_the_days_add_up_to_the_whole_run(workload) -> None:
    trace = workload(seed=1)
    run = simulate(policy(), trace, Assumptions(seats=10, tick=60.0))
    whole = score(run, trace, minimum=1)

    days = days_of(run, trace, day_edges(trace.start, trace.end, "Asia/Tokyo"))

    assert len(days) > 1
    assert sum(day.sessions for day in days) == whole.sessions
    assert sum(day.refused for day in days) == whole.refused > 0
    assert replica_hours(days) == pytest.approx(whole.replica_hours)
    assert refused_percent(days) == pytest.approx(whole.refused_percent)


@pytest.mark.parametrize(
    ("users", "low", "high"),
    [
        pytest.param(100, 3.6, 3.8, id="nobody of a hundred"),
        pytest.param(10_000, 0.036, 0.038, id="nobody of ten thousand"),
    ],
)
def test_that_nobody_was_refused_is_no_proof(users: int, low: float, high: float) -> None:
    interval = refused_interval([Day(users // 4, 0, 1.0)] * 4)
    assert interval.low == 0
    assert low < interval.high < high, "the rule of three: 3.7 of so many"


def test_a_day_on_which_all_were_refused_widens_the_interval() -> None:
    spread = [Day(1_000, 10, 24.0)] * 10
    at_once = [Day(1_000, 100, 24.0), *[Day(1_000, 0, 24.0)] * 9]
    assert refused_percent(spread) == refused_percent(at_once) == 1.0
    assert refused_interval(at_once).high > 2 * refused_interval(spread).high


def test_a_small_difference_shows_where_both_have_the_same_days() -> None:
    random = Random(1)
    days = [Day(100, 1, random.uniform(10, 1_000)) for _ in range(20)]
    cheaper = [day._replace(replica_hours=day.replica_hours - 1.0) for day in days]
    interval = cost_difference(cheaper, days)
    assert interval.low == pytest.approx(-20)
    assert interval.high == pytest.approx(-20)
    assert refused_difference(cheaper, days) == (0, 0)


def test_the_interval_holds_the_true_share_most_of_the_time() -> None:
    random = Random(3)
    held = 0
    for _ in range(40):
        rates = [random.uniform(0.0, 0.04) for _ in range(28)]
        days = [Day(500, sum(random.random() < rate for _ in range(500)), 1.0) for rate in rates]
        low, high = refused_interval(days)
        held += low <= 2.0 <= high
    assert held >= 35


@settings(max_examples=20)
@given(DAYS)
def test_an_interval_holds_what_was_measured_and_is_the_same_again(days: list[Day]) -> None:
    low, high = refused_interval(days)
    assert low <= refused_percent(days) <= high
    assert (low, high) == refused_interval(list(days))


@settings(max_examples=20)
@given(DAYS)
def test_nothing_differs_from_itself(days: list[Day]) -> None:
    assert cost_difference(days, days).holds_zero
    assert refused_difference(days, days) == (0, 0)


def test_a_shorter_first_day_does_not_make_the_cost_uncertain() -> None:
    """Ten replicas all the time are ten replicas, whichever days are drawn."""
    hours = [3.0, 24.0, 24.0, 24.0, 7.5]
    days = [Day(100, 0, 10.0 * each, each) for each in hours]

    assert cost_interval(days) == pytest.approx((825.0, 825.0))


@given(DAYS)
@settings(max_examples=20, deadline=None)
def test_the_cost_is_within_its_interval(days: list[Day]) -> None:
    low, high = cost_interval(days)
    assert low - 1e-6 <= replica_hours(days) <= high + 1e-6


def test_what_two_runs_have_in_common_does_not_blur_their_difference() -> None:
    random = Random(1)
    days = [Day(100, 0, random.uniform(10, 1_000)) for _ in range(20)]
    others = [day._replace(replica_hours=day.replica_hours / 1.25) for day in days]

    assert relative_cost(days, others) == pytest.approx((25.0, 25.0))
