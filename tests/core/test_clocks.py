"""The API server's time: what its answers tell for certain, and when a clock is corrected by it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.clocks import WORTH_CORRECTING, OffsetBounds, bounds_of, common, follow

# By the steady clock, which began at 0: the API server's shows 1000 then.
RIGHT = 1000.0
TOLD = OffsetBounds(999.5, 1000.7)


@pytest.mark.parametrize(
    ("sent", "received", "stamp", "least", "most"),
    [
        pytest.param(10.0, 10.1, 1010, 999.9, 1001.0, id="an answer at once: a second and a bit"),
        pytest.param(10.0, 15.0, 1012, 997.0, 1003.0, id="one that took 5 s: six seconds"),
    ],
)
def test_an_answer_tells_as_much_as_it_was_quick(
    sent: float, received: float, stamp: float, least: float, most: float
) -> None:
    assert bounds_of(sent, received, stamp) == pytest.approx((least, most))


@pytest.mark.parametrize(
    ("answers", "together"),
    [
        pytest.param([TOLD], TOLD, id="one"),
        pytest.param([TOLD, OffsetBounds(996.0, 1002.0)], TOLD, id="a slow one takes nothing away"),
        pytest.param(
            [TOLD, OffsetBounds(1000.2, 1001.4)], OffsetBounds(1000.2, 1000.7), id="two tell more"
        ),
        pytest.param(
            [TOLD, OffsetBounds(1010.0, 1011.0)],
            OffsetBounds(1000.7, 1010.0),
            id="two API servers that disagree: a clock between them stays",
        ),
    ],
)
def test_answers_together(answers: list[OffsetBounds], together: OffsetBounds) -> None:
    assert common(answers) == together


@pytest.mark.parametrize(
    ("present", "machine", "server", "corrected", "then"),
    [
        pytest.param(900.0, 950.0, None, False, (950.0, False), id="nothing heard: the machine's"),
        pytest.param(RIGHT, 1000.2, TOLD, False, (1000.2, False), id="it agrees"),
        pytest.param(1003.6, 1003.6, TOLD, False, (1003.6, False), id="2.9 s are left alone"),
        pytest.param(1300.0, 1300.0, TOLD, False, (1000.7, True), id="300 s ahead"),
        pytest.param(700.0, 700.0, TOLD, False, (999.5, True), id="300 s behind"),
        pytest.param(1000.7, 1300.0, TOLD, True, (1000.7, True), id="corrected stays as it is"),
        pytest.param(1000.7, 1003.0, TOLD, True, (1000.7, True), id="not yet back at 2.3 s"),
        pytest.param(1000.7, 1001.0, TOLD, True, (1001.0, False), id="the machine's was set right"),
        pytest.param(
            1000.7,
            1005.0,
            OffsetBounds(997.0, 1006.0),
            True,
            (1000.7, True),
            id="a slow answer: no way back",
        ),
        pytest.param(1000.7, 1600.0, TOLD, True, (1000.7, True), id="it was set wrong once more"),
        pytest.param(
            RIGHT, 1600.0, TOLD, False, (RIGHT, True), id="set wrong while running: no step at all"
        ),
        pytest.param(
            RIGHT,
            1300.0,
            OffsetBounds(990.0, 1310.0),
            False,
            (1300.0, False),
            id="a slow answer: doubt",
        ),
    ],
)
def test_which_clock_is_gone_by(
    present: float,
    machine: float,
    server: OffsetBounds | None,
    corrected: bool,
    then: tuple[float, bool],
) -> None:
    assert follow(present, machine, server, corrected=corrected) == then


@given(
    off=st.floats(-60, 60),
    answers=st.lists(st.tuples(st.floats(0, 8), st.floats(0, 1)), min_size=1, max_size=40),
)
def test_each_correction_of_a_clock_brings_it_nearer_and_none_is_taken_back(
    off: float, answers: list[tuple[float, float]]
) -> None:
    """Answers take up to 8 s and are made at some moment of that."""
    present, corrected, at = RIGHT + off, False, 0.0
    for took, share in answers:
        told = bounds_of(at, at + took, float(int(RIGHT + at + took * share)))
        before, was = present, corrected
        present, corrected = follow(present, RIGHT + off, told, corrected=corrected)
        if present != before:
            assert abs(before - RIGHT) >= WORTH_CORRECTING
            assert abs(present - RIGHT) < abs(before - RIGHT)
        assert corrected or not was
        at += took + 2.0
