from __future__ import annotations

import pytest

from autoscaler.simulation.workloads import (
    DAY,
    HOUR,
    WORKLOADS,
    class_of_200,
    office_week,
    overnight_tail,
    retry_storm,
    viral_spike,
)

EVERY = pytest.mark.parametrize("name", WORKLOADS)


@EVERY
def test_the_same_seed_gives_the_same_sessions_and_another_seed_others(name):
    workload = WORKLOADS[name]
    assert workload(7, "UTC").digest == workload(7, "UTC").digest
    assert workload(7, "UTC").digest != workload(8, "UTC").digest


@EVERY
def test_all_sessions_are_in_the_order_of_their_start_and_within_the_trace(name):
    trace = WORKLOADS[name](1, "Europe/Berlin")
    starts = [session.start for session in trace.sessions]
    assert starts == sorted(starts)
    assert all(trace.start <= s.start < s.end <= trace.end for s in trace.sessions)


@EVERY
def test_a_workload_follows_the_clock_of_its_place(name):
    utc, new_york = WORKLOADS[name](1, "UTC"), WORKLOADS[name](1, "America/New_York")
    assert new_york.start - utc.start == 5 * HOUR
    assert [s.start - utc.start for s in utc.sessions] == [
        s.start - new_york.start for s in new_york.sessions
    ]


def present(trace, hour: float) -> int:
    """The number of sessions at an hour of the first day."""
    at = trace.start - trace.start % DAY + hour * HOUR
    return sum(start <= at < end for start, end in trace.sessions)


def test_the_office_week_is_one_week_with_a_few_hundred_users_at_its_peak():
    week = office_week(1)
    assert week.end - week.start == 7 * DAY
    assert 200 <= week.concurrency.peak <= 400


def test_nights_and_the_weekend_are_quiet():
    week = office_week(1)
    saturday = week.start + 5 * DAY
    busy = [value for at, value in zip(*week.concurrency, strict=True) if at > saturday]
    assert max(busy) < 30


def test_a_class_of_200_comes_within_five_minutes_and_leaves_after_the_lesson():
    trace = class_of_200(1)
    assert present(trace, 9.0) < 10
    assert 200 <= present(trace, 9.1) < 220
    assert present(trace, 11.0) < 10


def test_a_viral_spike_is_a_hundred_times_the_usual_number_within_minutes():
    trace = viral_spike(1)
    assert present(trace, 13.9) < 25
    assert present(trace, 14.5) > 300
    assert present(trace, 23.0) < 25


def test_after_an_outage_everybody_returns_within_minutes_in_several_attempts():
    trace = retry_storm(1)
    before, after = present(trace, 9.99), present(trace, 10.3)
    down, up = trace.start + 10 * HOUR, trace.start + 10.25 * HOUR
    assert before > 200
    assert not any(start < up and end > down for start, end in trace.sessions)
    assert after >= before
    assert sum(up <= start < up + 150 for start, _ in trace.sessions) > 2 * after


def test_some_tabs_stay_open_overnight_and_are_closed_in_the_morning():
    trace = overnight_tail(1)
    assert 50 < present(trace, 27.0) < 150
    assert present(trace, 27.0) - present(trace, 30.9) < 30
    tail = [s for s in trace.sessions if s.end - s.start > 10 * HOUR]
    assert all(
        7 * HOUR <= (s.end - trace.start) % DAY <= 9 * HOUR for s in tail if s.end < trace.end
    )
