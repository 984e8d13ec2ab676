"""What the forecast said of each five minutes, before they came."""

from __future__ import annotations

from autoscaler.core.forecast import DAY, SLOT, WEEK
from autoscaler.core.trust import allowed
from autoscaler.simulation.foreseen import foreseen

NOON = 144
RUSH = 12 / SLOT


def daily(days: int) -> dict[int, float]:
    """Twelve users at noon of each day, and none otherwise."""
    return {number: RUSH if number % DAY == NOON else 0.0 for number in range(days * DAY)}


def test_a_rush_of_each_day_is_foreseen_with_its_band() -> None:
    noon = 7 * DAY + NOON
    slots = foreseen(daily(8), noon - 1, noon + 1)

    assert [round(slot.expected or 0) for slot in slots] == [0, 12, 0]
    assert [slot.came for slot in slots] == [0, 12, 0]
    assert slots[1].allowed == allowed(slots[1].expected or 0)


def test_what_comes_later_is_not_known_before() -> None:
    noon = 7 * DAY + NOON
    rates = daily(8)
    (without,) = foreseen({n: rate for n, rate in rates.items() if n < noon}, noon, noon)
    (having,) = foreseen(rates | {noon: 5 * RUSH}, noon, noon)

    assert having.expected == without.expected
    assert (having.came, without.came) == (60, None)


def test_the_time_ahead_has_a_forecast_and_nobody_who_came() -> None:
    (slot,) = foreseen(daily(7), 7 * DAY + NOON, 7 * DAY + NOON)

    assert slot.came is None
    assert slot.at == (7 * DAY + NOON) * SLOT
    assert round(slot.expected or 0) == 12


def test_a_time_that_was_never_seen_has_no_forecast() -> None:
    (slot,) = foreseen({}, WEEK, WEEK)

    assert (slot.expected, slot.allowed, slot.came) == (None, None, None)
