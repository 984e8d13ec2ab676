"""How many users come at this time of the week, and what that is good for."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, factorial

import pytest

from autoscaler.core import forecast
from autoscaler.core.decide import decide
from autoscaler.core.forecast import SLOT, WEIGHT, rate_of, toward
from autoscaler.core.now import Now
from autoscaler.core.sessions import seats_for_arrivals
from autoscaler.model import Arrivals, Average, Profile, Sample, State, Traffic
from tests.builders import NOW, observation, policy
from tests.core.drains import serving

HOUR, DAY, WEEK = 3_600.0, 86_400.0, 604_800.0
# Weeks are counted from the beginning of Unix time.
BEGIN = (NOW // WEEK) * WEEK
QUIET = Average(0.0001, 0.0001, NOW - 600)


def learnt(passes: Iterable[tuple[float, float]]) -> Profile:
    """What is known after passes at these times that saw so many arrivals a second."""
    profile, seen_at = None, 0.0
    for at, rate in passes:
        profile = forecast.follow(profile, rate, seen_at, Now(at))
        seen_at = at
    assert profile is not None
    return profile


def passes(start: float, seconds: float, rate: float) -> list[tuple[float, float]]:
    return [(start + 30 * number, rate) for number in range(int(seconds / 30) + 1)]


def ahead(profile: Profile, at: float, horizon: float = 77.0) -> float | None:
    return forecast.expected(profile, horizon, Now(at))


def test_the_arrivals_of_a_time_are_expected_a_week_later() -> None:
    known = learnt(passes(BEGIN, HOUR, 0.1) + passes(BEGIN + HOUR + 30, HOUR, 0.3))

    assert ahead(known, BEGIN + WEEK + 600) == pytest.approx(0.1)
    assert ahead(known, BEGIN + WEEK + 5_400) == pytest.approx(0.3)


def test_a_rush_is_expected_before_it_begins_by_as_much_as_a_pod_needs() -> None:
    known = learnt(passes(BEGIN, HOUR - 30, 0.0) + passes(BEGIN + HOUR, HOUR, 0.3))

    assert ahead(known, BEGIN + WEEK + HOUR - 78) == pytest.approx(0.0, abs=0.01)
    assert ahead(known, BEGIN + WEEK + HOUR - 76) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("last_week", "expected"),
    [(None, 0.1), (0.2, 0.2), (0.05, 0.1)],
    ids=["until the weekday is known", "unless more came on it", "if fewer came on it"],
)
def test_the_days_before_count_too(last_week: float | None, expected: float) -> None:
    known = learnt(passes(BEGIN, HOUR, 0.1))
    if last_week is not None:
        known = known._replace(
            week=toward(known.week, forecast.WEEK, {forecast.DAY + 2: last_week})
        )

    assert ahead(known, BEGIN + DAY + 600, horizon=10) == pytest.approx(expected)


def test_a_time_that_was_never_seen_is_not_known() -> None:
    assert ahead(learnt(passes(BEGIN, HOUR, 0.1)), BEGIN + 7_200) is None


def test_the_last_week_counts_in_part() -> None:
    later = BEGIN + WEEK
    known = learnt(passes(BEGIN, HOUR, 0.1))._replace(current=Arrivals(later, 0.0, 0.2, later))

    known = forecast.follow(known, 0.2, later + SLOT, Now(later + SLOT))

    assert rate_of(known.week, forecast.WEEK, 0) == pytest.approx(0.1 + WEIGHT * 0.1)


@pytest.mark.parametrize(
    ("late", "is_known"), [(100, True), (200, False)], ids=["most of it", "less than half of it"]
)
def test_a_slot_teaches_if_most_of_it_was_seen(late: float, is_known: bool) -> None:
    assert bool(learnt(passes(BEGIN + late, 300, 0.1)).week) is is_known


def test_what_happened_while_the_daemon_was_away_is_not_known() -> None:
    assert not learnt([*passes(BEGIN, 60, 0.1), (BEGIN + HOUR, 0.1)]).week


@pytest.mark.parametrize("text", ["x", "AAAA", "\u2026", "?" * 10_752])
def test_what_no_forecast_wrote_is_not_known(text: str) -> None:
    known = Profile(text, text, Arrivals(NOW - 300, 0.0, 0.1, NOW - 300))

    assert ahead(known, NOW) is None
    assert rate_of(forecast.follow(known, 0.1, NOW - 5, Now(NOW)).week, forecast.WEEK, 7) is None


def test_a_clock_that_was_wrong_by_years_costs_no_time() -> None:
    known = forecast.follow(None, 0.1, 0.0, Now(0.0))
    assert not forecast.follow(known, 0.1, NOW - 5, Now(NOW)).week


def test_many_passes_that_see_the_same_are_as_good_as_one() -> None:
    every = learnt(passes(BEGIN, HOUR, 0.1))
    few = forecast.follow(None, 0.1, BEGIN, Now(BEGIN))
    few = forecast.follow(few, 0.1, BEGIN + HOUR - 30, Now(BEGIN + HOUR))
    for slot in range(int(HOUR // SLOT)):
        one, other = (rate_of(each.week, forecast.WEEK, slot) for each in (few, every))
        assert one == pytest.approx(other)


@pytest.mark.parametrize(("how", "spare"), [("weekly", 6), ("none", 2)])
def test_seats_are_kept_free_for_those_who_are_expected(how: str, spare: int) -> None:
    slots = range(int(NOW // SLOT), int(NOW // SLOT) + 2)
    profile = Profile(
        toward("", forecast.WEEK, dict.fromkeys(slots, 0.03)),
        toward("", forecast.DAY, dict.fromkeys(slots, 0.03)),
        Arrivals(NOW - 5, 0.0, 0.0, NOW - 5),
    )
    traffic = Traffic(NOW - 5, QUIET, QUIET, known=True, profile=profile)
    metric = {"type": "sessions", "seats": 10, "spare": {"refuse": "0.1%", "forecast": how}}
    nobody = Sample(0, NOW, 60.0)
    seen = observation(pods=(serving("a", 5, arrivals=nobody, departures=nobody),))

    decision, _ = decide(
        policy(metrics=[metric]), seen, State(seen_at=NOW - 5, traffic=traffic), NOW
    )

    assert f"(5 connected + {spare} spare)" in decision.recommendations[0].detail


@pytest.mark.parametrize("mean", [0.05, 1.0, 7.7, 25.0])
@pytest.mark.parametrize("step", [1, 10])
@pytest.mark.parametrize("refuse", [0.1, 1.0])
def test_no_larger_share_finds_no_seat_than_the_policy_says(
    mean: float, step: int, refuse: float
) -> None:
    average = Average(mean / 60, mean / 60, NOW)
    traffic = Traffic(NOW, average, average, known=True)

    seats = seats_for_arrivals(refuse, step, traffic, 0.0, 60.0, Now(NOW))

    assert _share_refused(mean, seats, step) <= refuse / 100
    assert seats == 1 or _share_refused(mean, seats - 1, step) > refuse / 100


def _share_refused(mean: float, seats: int, step: int) -> float:
    """Of Poisson arrivals, where up to `step` - 1 more seats are free, each number as often."""

    def chance(count: int) -> float:
        return exp(-mean) * mean**count / factorial(count)

    free = range(seats, seats + step)
    return sum(chance(n) * max(0, n - each) for n in range(120) for each in free) / step / mean


@pytest.mark.parametrize("arrivals", [0.4, 2.0, 50.0])
def test_many_arrivals_and_seats_are_no_more_work(arrivals: float) -> None:
    average = Average(arrivals, arrivals, NOW)
    traffic = Traffic(NOW, average, Average(0.0, 0.0, NOW), known=True)
    one = seats_for_arrivals(0.1, 1, traffic, 0.0, 60.0, Now(NOW))
    many = seats_for_arrivals(0.1, 100_000, traffic, 0.0, 60.0, Now(NOW))
    assert many <= arrivals * 60 * 1.2 < one * 1.2
