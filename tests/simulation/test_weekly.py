"""The week by the hour: whose hour it is, and what one of its hours is on average."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.simulation.timeline import Steps, Timeline
from autoscaler.simulation.weekly import Cell, week

MONDAY = 1_768_176_000.0  # 2026-01-12T00:00:00Z
HOUR = 3_600.0


def run(hours: float, **changes: object) -> Timeline:
    """One replica of 10 seats, with 4 sessions."""
    one, four = Steps((MONDAY,), (1,)), Steps((MONDAY,), (4,))
    timeline = Timeline(MONDAY, MONDAY + hours * HOUR, 10, four, one, one, one)
    return replace(timeline, **changes)


def test_a_run_has_the_hours_that_it_covers() -> None:
    assert week(run(2)) == {(0, 0): Cell(0, 6.0), (0, 1): Cell(0, 6.0)}


def test_hours_are_those_of_the_time_zone() -> None:
    assert set(week(run(1, timezone="Asia/Tokyo"))) == {(0, 9)}


def test_an_hour_of_a_zone_may_begin_at_half_past() -> None:
    assert set(week(run(1, timezone="Asia/Kolkata"))) == {(0, 5), (0, 6)}


def test_the_same_hour_of_two_weeks_is_one() -> None:
    twice = run(7 * 24 + 1, ready=Steps((MONDAY, MONDAY + 7 * 24 * HOUR), (1, 2)))

    assert len(week(twice)) == 7 * 24
    assert week(twice)[0, 0].spare == pytest.approx((6 + 16) / 2)


def test_refused_users_count_in_their_hour() -> None:
    assert week(run(3, refused=(MONDAY + 10, MONDAY + HOUR + 1, MONDAY + HOUR + 2)))[0, 1] == Cell(
        2, 6.0
    )


def test_more_sessions_than_seats_are_no_seats_below_zero() -> None:
    crowded = run(1, sessions=Steps((MONDAY,), (14,)))

    assert week(crowded)[0, 0].spare == 0.0
