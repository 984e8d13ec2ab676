"""A forecast that has been wrong of late is not used, and is used again once it is right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core import forecast, trust
from autoscaler.core.decide import decide
from autoscaler.core.forecast import DAY, SLOT, WEEK
from autoscaler.core.now import Now
from autoscaler.core.sessions import seats_for_arrivals, spare_seats
from autoscaler.core.trust import Said
from autoscaler.model import Arrivals, Average, Profile, Sample, Score, State, Traffic
from tests.builders import NOW, observation, policy
from tests.core.drains import serving

BEGIN = int(NOW // (WEEK * SLOT)) * WEEK
HOUR, NOON = 12, 144
NOTHING = Profile("", "", Arrivals(BEGIN * SLOT, 0.0, 0.0, BEGIN * SLOT))
REFUSE = {"type": "sessions", "seats": 10, "spare": {"refuse": "0.1%"}}
# Users a second.
RUSH = 0.3


def rush_at_eight(slot: int) -> float:
    """From Monday to Friday many come between eight and ten o'clock, and nobody at other times."""
    weekday, time = divmod(slot % WEEK, DAY)
    return RUSH if weekday < 5 and 8 * HOUR <= time < 10 * HOUR else 0.0


def lived(profile: Profile, days: Iterable[int], rate: Callable[[int], float]) -> Profile:
    """Return what is known after these days since the beginning."""
    slots = [BEGIN + DAY * day + slot for day in days for slot in range(DAY)]
    return forecast.learnt(profile, {slot: rate(slot - BEGIN) for slot in slots})


def nobody(_: int) -> float:
    return 0.0


def ahead(profile: Profile, day: int, slot: int = 8 * HOUR) -> float | None:
    return forecast.expected(profile, 0.0, Now((BEGIN + DAY * day + slot) * SLOT + 1))


FORTNIGHT = lived(NOTHING, range(14), rush_at_eight)


def test_a_rush_of_each_weekday_is_expected() -> None:
    assert [ahead(FORTNIGHT, 14 + day) for day in range(5)] == [pytest.approx(RUSH)] * 5


def test_on_the_second_day_of_a_holiday_nobody_is_expected() -> None:
    on_tuesday = lived(FORTNIGHT, [14], nobody)
    assert ahead(on_tuesday, 15) is None
    assert forecast.doubts(on_tuesday, Now((BEGIN + 15 * DAY) * SLOT + 1)) == (
        "is ignored: its error of the last day is larger than without one"
    )


def test_a_holiday_is_noticed_within_half_an_hour_of_the_rush_that_does_not_come() -> None:
    slots = range(BEGIN + 14 * DAY, BEGIN + 14 * DAY + 8 * HOUR + 6)
    known = forecast.learnt(FORTNIGHT, dict.fromkeys(slots, 0.0))

    assert ahead(known, 14, 8 * HOUR + 6) is None


def test_after_a_holiday_the_forecast_is_used_again_within_a_day() -> None:
    back = lived(lived(FORTNIGHT, range(14, 21), nobody), [21, 22], rush_at_eight)

    assert ahead(back, 23) is not None


def test_a_weekend_does_not_cost_the_forecast_of_monday() -> None:
    week = lived(NOTHING, range(7), rush_at_eight)
    assert ahead(week, 7) == pytest.approx(RUSH)


def test_days_that_are_wrong_on_a_weekend_leave_the_weeks_in_use() -> None:
    sunday = lived(FORTNIGHT, range(14, 20), rush_at_eight)

    week, day = trust.errors_of(sunday.score)

    assert week <= trust.WORSE < day
    assert ahead(sunday, 20) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("score", "used"),
    [
        (Score(), 7.0),
        (Score(week=20.1, day=20.0), 5.0),
        (Score(week=20.0, day=20.1), 7.0),
        (Score(week=20.1, day=20.1), None),
        (Score(week=200.0, day=200.0, before=100.0), 7.0),
        (Score(week=201.0, day=201.0, before=100.0), None),
    ],
    ids=[
        "before anything was seen",
        "by the days if the weeks are wrong",
        "by the weeks if the days are wrong",
        "not if both are wrong",
        "if it is twice as wrong as none",
        "not if it is more wrong than that",
    ],
)
def test_a_forecast_is_used(score: Score, used: float | None) -> None:
    assert trust.trusted(score, Said(7.0, 5.0)) == used


@pytest.mark.parametrize(
    ("score", "foreseen"),
    [
        (Score(came=100.0, beyond=50.0), True),
        (Score(came=100.0, beyond=51.0), False),
        (Score(came=4.0, beyond=4.0), True),
    ],
    ids=["half of the users came as it allows", "fewer did", "it was wrong about a few users"],
)
def test_more_seats_are_kept_if_rushes_come_that_nobody_foresees(
    score: Score, foreseen: bool
) -> None:
    usual, low = (spare(each) for each in (Score(), score))
    assert (low == usual) if foreseen else (low > usual)


def test_a_forecast_that_is_not_used_leaves_the_seats_as_they_are_without_one() -> None:
    assert spare(Score(week=99.0, day=99.0)) == spare(Score(), forecast="none")


def spare(score: Score, **settings: str) -> int:
    """Seats that are kept at a time of which the forecast says that few come."""
    profile = FORTNIGHT._replace(score=score)
    rate = Average(0.02, 0.02, NOW)
    traffic = Traffic(NOW, rate, rate, known=True, profile=profile)
    metric = policy(metrics=[{**REFUSE, "spare": {"refuse": "0.1%", **settings}}]).sessions
    assert metric is not None
    return spare_seats(metric, 5, traffic, None, 17.0, Now(NOW))


def test_rushes_that_it_does_not_foresee_are_told() -> None:
    def crowd(slot: int) -> float:
        return 10 * RUSH if slot % 40 == 0 else 0.01

    known = lived(lived(NOTHING, range(8), lambda _: 0.01), [8], crowd)

    covered = trust.coverage(known.score)
    assert covered is not None
    assert covered < 0.5
    assert forecast.doubts(known, Now((BEGIN + 9 * DAY) * SLOT + 1)) == (
        "is too low: it allows for few of the last day's users"
    )


def test_a_slot_after_a_gap_says_nothing_of_a_time_without_a_forecast() -> None:
    gone = {BEGIN + 14 * DAY + 3: RUSH}
    assert forecast.learnt(FORTNIGHT, gone).score == FORTNIGHT.score


def test_the_decision_says_that_the_forecast_is_ignored_and_why() -> None:
    slots = range(int(NOW // SLOT), int(NOW // SLOT) + 2)
    week, day = (forecast.toward("", size, dict.fromkeys(slots, 0.03)) for size in (WEEK, DAY))
    score = Score(week=99.0, day=99.0, before=10.0)
    profile = Profile(week, day, Arrivals(NOW - 5, 0.0, 0.0, NOW - 5), score=score)
    quiet = Average(0.0001, 0.0001, NOW - 600)
    state = State(seen_at=NOW - 5, traffic=Traffic(NOW - 5, quiet, quiet, True, profile=profile))
    none = Sample(0, NOW, 60.0)
    seen = observation(pods=(serving("a", 5, arrivals=none, departures=none),))
    decision, _ = decide(policy(metrics=[REFUSE]), seen, state, NOW)

    assert decision.recommendations[0].detail == (
        "sessions: (5 connected + 2 spare) / 10 seats, the forecast is ignored: "
        "its error of the last day is larger than without one"
    )


@pytest.mark.parametrize(
    ("said", "came", "before", "error"),
    [(30, 10, 12, 20), (10, 30, 10, 20), (10, 30, 29, 1), (None, 30, 29, 1)],
    ids=[
        "by what it says too much",
        "by what it says too little",
        "by no more than without it if it says too little",
        "by as much as without it if it says nothing",
    ],
)
def test_a_forecast_is_wrong(said: float | None, came: float, before: float, error: float) -> None:
    score = trust.after_slot(Score(), Said(said, None), came, before)
    assert score.week == error


slot_rates = st.dictionaries(
    st.integers(0, 40).map(lambda n: BEGIN + n)
    | st.integers(0, 40).map(lambda n: BEGIN + WEEK + n),
    st.floats(0, 2),
    max_size=60,
)


@given(slot_rates)
def test_a_history_teaches_what_living_through_it_does(rates: dict[int, float]) -> None:
    told = forecast.learnt(NOTHING, rates)

    seen = NOTHING
    for number, rate in sorted(rates.items()):
        begin = number * SLOT
        seen = forecast.follow(seen, rate, begin - 2 * SLOT, Now(begin))
        seen = forecast.follow(seen, rate, begin, Now(begin + SLOT))

    assert _numbers(told) == pytest.approx(_numbers(seen), rel=1e-5, abs=1e-6)


def _numbers(profile: Profile) -> list[float]:
    known = [
        forecast.rate_of(text, size, number)
        for text, size in ((profile.week, WEEK), (profile.day, DAY))
        for number in range(50)
    ]
    return [-1.0 if rate is None else rate for rate in known] + [*profile.score]


@given(st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0, 0.4), st.sampled_from([1, 10]))
def test_a_forecast_only_ever_adds_seats(
    arrivals: float, departures: float, ahead: float, step: int
) -> None:
    traffic = Traffic(
        NOW, Average(arrivals, arrivals, NOW), Average(departures, departures, NOW), known=True
    )
    without, with_it = (
        seats_for_arrivals(0.1, step, traffic, rate, 77.0, Now(NOW)) for rate in (0.0, ahead)
    )
    assert with_it >= without


scores = st.builds(Score, *[st.floats(0, 500)] * 5)
rates_said = st.builds(Said, st.none() | st.floats(0, 2), st.none() | st.floats(0, 2))


@given(scores, rates_said)
def test_what_is_used_is_something_that_was_said(score: Score, said: Said) -> None:
    used = trust.trusted(score, said)
    assert used is None or used in said


@given(scores, rates_said, st.floats(0, 300), st.floats(0, 300))
def test_a_score_forgets_more_than_it_is_told_in_a_quiet_day(
    score: Score, said: Said, came: float, before: float
) -> None:
    after = trust.after_slot(score, said, came, before)
    assert all(0 <= each < inf for each in after)
    assert after.beyond <= score.beyond + after.came


def test_a_rush_at_another_time_is_one_that_nobody_foresees() -> None:
    def two_hours_later(slot: int) -> float:
        return rush_at_eight(slot - 2 * HOUR)

    known = lived(FORTNIGHT, [14], two_hours_later)

    assert not forecast.foresees(known, Now((BEGIN + 15 * DAY) * SLOT + 1))
