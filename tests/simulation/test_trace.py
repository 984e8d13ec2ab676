from __future__ import annotations

import pytest

from autoscaler.simulation.trace import Session, trace_of


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
