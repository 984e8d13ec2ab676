"""Lower bounds: by hand, and as laws that hold for every trace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.simulation.bounds import Bounds, lower_bounds
from autoscaler.simulation.trace import Session, Trace, trace_of

HOUR = 3_600.0


def hours(*sessions: tuple[float, float]) -> Trace:
    """Sessions from one hour to another."""
    return trace_of("by hand", [Session(start * HOUR, end * HOUR) for start, end in sessions])


@pytest.mark.parametrize(
    ("seats", "trace", "expected"),
    [
        pytest.param(2, hours((0, 2)), Bounds(2, 2, 2), id="one session needs one pod"),
        pytest.param(
            2, hours((0, 2), (0, 2), (1, 2)), Bounds(3, 3, 3), id="a third one opens a second pod"
        ),
        pytest.param(
            2,
            hours((0, 4), (1, 8), (2, 8), (5, 7)),
            Bounds(12, 14, 14),
            id="a session that stays keeps its pod, although it would fit into another",
        ),
        pytest.param(
            3,
            hours((0, 1), (0, 4), (0, 4), (0.5, 9), (1.5, 8)),
            Bounds(12, 16.5, 12.5),
            id="who knows the ends puts long sessions together",
        ),
        pytest.param(
            2, hours((0, 1), (9, 10)), Bounds(10, 10, 10), id="the minimum is always there"
        ),
    ],
)
def test_a_bound_is_what_it_comes_to_by_hand(seats: int, trace: Trace, expected: Bounds) -> None:
    assert lower_bounds(trace, seats, minimum=1) == expected


def test_a_crowd_of_one_moment_is_packed_pod_by_pod() -> None:
    # If each of them looked at all pods, 100,000 at the end, this would not end.
    crowd = hours(*[(0.0, 1.0)] * 200_000)
    assert lower_bounds(crowd, seats=2, minimum=1) == Bounds(100_000, 100_000, 100_000)


sessions = st.builds(
    lambda start, length: Session(float(start), float(start + length)),
    st.integers(0, 5_000),
    st.integers(1, 2_000),
)


@given(st.lists(sessions, min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 3))
def test_sessions_that_stay_never_need_less_than_sessions_that_move(
    found: list[Session], seats: int, minimum: int
) -> None:
    trace = trace_of("any", found)
    bounds = lower_bounds(trace, seats, minimum)
    apart = lower_bounds(trace, 1, minimum)
    least = minimum * (trace.end - trace.start) / HOUR

    assert least <= bounds.fluid + 1e-9
    for bound in (bounds.sticky, bounds.clairvoyant):
        assert bounds.fluid <= bound + 1e-9
        assert bound <= apart.fluid + 1e-9, "a pod for each session is always enough"


@pytest.mark.parametrize(
    ("replica_hours", "expected"),
    [
        pytest.param(10.0, 0.0, id="the bound itself"),
        pytest.param(11.0, 10.0, id="a tenth more"),
    ],
)
def test_regret_is_the_cost_over_the_sticky_bound(replica_hours: float, expected: float) -> None:
    assert Bounds(8.0, 10.0, 9.0).regret(replica_hours) == pytest.approx(expected)
