"""Sessions rebuilt from counts: what they keep, and what is measured and told beside them."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.simulation.history import History, LengthTable, lead_times, trace_of_history
from autoscaler.simulation.measured import Measured
from autoscaler.simulation.rebuild import Count, sessions_of
from autoscaler.simulation.trace import MAX_SESSIONS

INF = float("inf")
SERIES = ("sessions", "arrival_rate", "desired", "ready", "fullest")
MEANS = ("mean_sessions", "mean_cpu", "mean_memory", "lengths")
NOTHING: dict[str, Any] = {name: {} for name in (*SERIES, *MEANS)}


def history(**recorded: Any) -> History:
    times = [*recorded.get("sessions", ()), 0.0]
    return History(**{**NOTHING, "start": min(times), "end": max(times), "step": 15.0, **recorded})


def every(step: float, *values: float) -> dict[float, float]:
    """A series with a value at each step."""
    return {step * number: value for number, value in enumerate(values)}


def present(sessions, at: float) -> int:
    return sum(start <= at < end for start, end in sessions)


COUNTS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=30)


@given(COUNTS, st.integers(0, 2**32))
def test_as_many_sessions_are_there_at_each_count_as_it_says(rows, seed):
    counts = [Count(100.0 * n, present, arrived) for n, (present, arrived) in enumerate(rows)]
    random = Random(seed)
    sessions = sessions_of(counts, 100.0 * len(counts), lambda: random.uniform(0, 1_000))
    # A session that comes and leaves at the same time lasts a second, which is over at the next.
    for count in counts:
        at_most = present(sessions, count.at)
        lasting = sum(start <= count.at < end and end - start > 1 for start, end in sessions)
        assert lasting <= count.sessions <= at_most
    assert len(sessions) >= counts[0].sessions + sum(count.arrived for count in counts[1:])
    assert all(start < end for start, end in sessions)


def test_those_whose_time_is_over_first_leave_first():
    lengths = iter([1_000.0, 10.0])
    counts = [Count(0, 1), Count(100, 2), Count(200, 1), Count(300, 0)]
    assert sessions_of(counts, 400, lambda: next(lengths)) == [(0, 300), (100, 200)]


def test_without_lengths_those_who_come_first_leave_first():
    counts = [Count(0, 1), Count(100, 2), Count(200, 1), Count(300, 0)]
    assert sessions_of(counts, 400) == [(0, 200), (100, 300)]


def test_arrivals_are_the_recorded_ones_also_if_the_count_does_not_change():
    recorded = history(sessions=every(15, *[5] * 41), arrival_rate=every(15, *[1 / 30] * 41))
    trace = trace_of_history("x", recorded, 1)
    assert len(trace.sessions) == 5 + 20
    assert present(trace.sessions, 300.0) == 5


def test_a_rush_that_the_count_shows_before_the_average_rate_does_is_counted_once():
    rate = [0, 0, 0, *[50 / 15] * 4, 0, 0, 0]  # 200 within a minute
    recorded = history(sessions=every(15, 0, 0, *[200] * 8), arrival_rate=every(15, *rate))
    assert len(trace_of_history("x", recorded, 1).sessions) == 200


def test_lengths_follow_the_recorded_histogram():
    counts = every(15, *[50] * 2_000)
    recorded = history(
        sessions=counts,
        arrival_rate=dict.fromkeys(counts, 0.1),
        lengths={60.0: 500.0, 600.0: 500.0, 1_800.0: 1_000.0, INF: 1_000.0},
    )
    lengths = sorted(end - start for start, end in trace_of_history("x", recorded, 1).sessions)
    middle = len(lengths) // 2
    assert lengths[middle // 2] < 200, "half are shorter than a minute"
    assert lengths[-middle // 2] > 600, "half are longer than ten"


@given(st.floats(0, 1))
def test_a_length_lies_in_the_bucket_of_its_share(share):
    table = LengthTable({10.0: 20.0, 60.0: 80.0, INF: 100.0})
    length = table.length(share)
    assert 0 <= length <= 120
    assert (length <= 10) == (share <= 0.2)
    assert (length <= 60) == (share <= 0.8)


def test_a_few_recorded_lengths_say_nothing():
    assert not LengthTable({10.0: 3.0, INF: 4.0}).known
    assert LengthTable({}).length(0.5) == 0


LEAD_TIMES = {
    "one scale-up": ((2, 3, 3, 3, 3), (2, 2, 2, 3, 3), [30]),
    "ready at once": ((2, 3, 3), (2, 3, 3), [15]),
    "two in a row count once": ((2, 3, 4, 4, 4), (2, 2, 2, 3, 4), [30]),
    "reverted before it was ready": ((2, 3, 2, 2), (2, 2, 2, 2), []),
    "never ready": ((2, 3, 3, 3), (2, 2, 2, 2), []),
    "pods of an earlier one still start": ((2, 3, 3), (1, 1, 3), []),
    "a cordoned pod was still there": ((2, 3, 3), (3, 3, 3), []),
    "a scale-down": ((3, 2, 2), (3, 3, 2), []),
}


@pytest.mark.parametrize(("desired", "ready", "expected"), LEAD_TIMES.values(), ids=LEAD_TIMES)
def test_the_lead_time_is_from_a_scale_up_until_its_pods_are_ready(desired, ready, expected):
    recorded = history(desired=every(15, *desired), ready=every(15, *ready))
    assert list(lead_times(recorded)) == expected


def test_what_was_measured_replaces_assumptions_and_is_told():
    sessions = every(300, 4, 8, 12, 8, 4)
    recorded = history(
        sessions=every(15, 4, 8, 12, 8, 4),
        desired=every(15, 2, 3, 3, 3, 3),
        ready=every(15, 2, 2, 2, 3, 3),
        fullest=every(300, 3, 5, 7),
        mean_sessions=sessions,
        mean_cpu={at: 0.1 + 0.02 * value for at, value in sessions.items()},
        mean_memory={at: 2e8 + 3e7 * value for at, value in sessions.items()},
    )
    trace = trace_of_history("x", recorded, 1)
    assert trace.measured == Measured(30.0, 7, 0.02, 30.0)
    assert (
        "Measured: a lead time of 30s, 7 sessions in the fullest pod, 0.02 cores per session,"
        " 30 MB per session." in trace.note
    )
    assert "Not measured" not in trace.note


def test_what_is_unknown_is_told():
    recorded = history(sessions={0.0: 1.0, 15.0: 2.0, 3_615.0: 2.0})
    note = trace_of_history("x", recorded, 1).note
    assert "users who were refused, are unknown" in note
    assert "Arrivals are unknown (no bokeh_sessions_created_total)" in note
    assert "Lengths are unknown (no bokeh_session_duration_seconds): first in, first out." in note
    assert "There are no counts for 59m45s after the first one." in note
    assert note.endswith(
        "Not measured, so assumed: lead time (no scale-up in bokeh_autoscaler_replicas), "
        "seats (no bokeh_sessions of pods), CPU (bokeh_cpu_seconds_total shows none), "
        "memory (bokeh_memory_working_set_bytes shows none)."
    )


def test_counts_that_begin_late_or_end_early_are_told():
    recorded = history(sessions={86_400.0: 1.0, 86_415.0: 1.0}, start=0.0, end=90_015.0)
    note = trace_of_history("x", recorded, 1).note
    assert "There are no counts for 59m45s after the first one." in note
    assert "There are no counts for the first 1d; check the retention." in note


def test_the_idle_time_at_both_ends_belongs_to_the_trace():
    trace = trace_of_history("x", history(sessions=every(15, 0, 0, 1, 0, 0)), 1)
    assert (trace.start, trace.end) == (0, 75)


@pytest.mark.parametrize("value", [0.0, MAX_SESSIONS + 1, 1e300])
def test_a_history_without_sessions_or_with_too_many_is_refused(value):
    with pytest.raises(ValueError, match="sessions, expected 1 to 5,000,000"):
        trace_of_history("x", history(sessions={0.0: value}), 1)
