from __future__ import annotations

import pytest

from autoscaler.simulation.trace import Session, office_week, trace_of


def test_the_same_seed_gives_the_same_week_and_another_seed_another():
    assert office_week(7).digest == office_week(7).digest
    assert office_week(7).digest != office_week(8).digest


def test_the_built_in_week_is_one_week_with_a_few_hundred_users_at_its_peak():
    week = office_week(1)
    assert week.end - week.start == 7 * 86_400
    assert 200 <= week.concurrency.peak <= 400
    assert all(week.start <= s.start < s.end <= week.end for s in week.sessions)


def test_nights_and_the_weekend_are_quiet():
    week = office_week(1)
    saturday = week.start + 5 * 86_400
    busy = [value for at, value in zip(*week.concurrency, strict=True) if at > saturday]
    assert max(busy) < 30


def test_the_week_follows_the_clock_of_its_office():
    utc, new_york = office_week(1), office_week(1, "America/New_York")
    assert new_york.start - utc.start == 5 * 3_600
    assert [s.start - utc.start for s in utc.sessions] == [
        s.start - new_york.start for s in new_york.sessions
    ]


@pytest.mark.parametrize(
    ("sessions", "expected"),
    [
        pytest.param([(0, 10)], ((0, 10), (1, 0)), id="one session"),
        pytest.param([(0, 10), (10, 20)], ((0, 20), (1, 0)), id="one leaves as the next comes"),
        pytest.param(
            [(5, 9), (0, 10), (5, 10)], ((0, 5, 9, 10), (1, 3, 2, 0)), id="three in any order"
        ),
    ],
)
def test_concurrency_counts_who_wants_to_be_there(sessions, expected):
    trace = trace_of("made up", [Session(*session) for session in sessions])
    assert tuple(trace.concurrency) == expected
