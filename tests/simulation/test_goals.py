"""Goals: what they may say, and how a run that misses one is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.simulation.goals import FIGURES, Goal, goal
from tests.simulation.test_score import scored


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("cut == 0", Goal("cut", "==", 0.0, ""), id="a number"),
        pytest.param("refused < 0.1%", Goal("refused", "<", 0.1, "%"), id="a percentage"),
        pytest.param("regret<=10 %", Goal("regret", "<=", 10.0, "%"), id="any spaces"),
    ],
)
def test_a_goal_is_read(text: str, expected: Goal) -> None:
    assert goal(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("cut", "expected a figure, an operator and a number", id="no operator"),
        pytest.param("cut = 0", "expected a figure, an operator and a number", id="an assignment"),
        pytest.param("cut == -1", "expected a figure, an operator and a number", id="below zero"),
        pytest.param("regret < 10", "expected regret < 10%", id="a percentage without its sign"),
        pytest.param("scale_ups < 3%", "expected scale_ups < 3 without %", id="a number with one"),
        pytest.param(
            "happiness > 9", "there is no figure happiness, expected one of refused, waited"
        ),
    ],
)
def test_a_wrong_goal_is_told(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        goal(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("refused < 33.4%", "", id="it is met"),
        pytest.param("refused < 0.1%", "refused is 33.3333%, the goal is < 0.1%", id="it is not"),
        pytest.param("cut == 0", "cut is 1, the goal is == 0", id="a session was cut"),
        pytest.param("regret <= 12.5%", "", id="the cost is at the goal"),
        pytest.param("regret < 12.5%", "regret is 12.5%, the goal is < 12.5%", id="not below it"),
    ],
)
def test_a_goal_that_is_missed_is_told_with_the_figure(text: str, expected: str) -> None:
    assert goal(text).missed(scored()) == expected


@pytest.mark.parametrize(("name", "unit"), FIGURES)
def test_each_figure_of_a_run_without_sessions_is_a_number(name: str, unit: str) -> None:
    empty = replace(scored(), sessions=0, refused=0, refused_percent=0.0)

    assert FIGURES[name, unit](empty) >= 0.0
