"""Successive halving: who is tried on what, and that nobody better is dropped for a worse one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.simulation.halving import (
    FINALISTS,
    Figures,
    Stage,
    ranked,
    representative,
    stages,
    undominated,
)

GOAL = 0.1
SEVERAL = st.lists(
    st.builds(Figures, st.integers(0, 1), st.sampled_from([0, 0.05, 0.2, 3]), st.integers(1, 5)),
    max_size=25,
)


@pytest.mark.parametrize(
    ("candidates", "days", "expected"),
    [
        pytest.param(
            200, 14, [Stage(200, 2), Stage(100, 4), Stage(50, 8)], id="half as many, twice the days"
        ),
        pytest.param(200, 3, [Stage(200, 2)], id="no more days than there are"),
        pytest.param(FINALISTS, 14, [], id="few are measured exactly at once"),
    ],
)
def test_each_stage_has_half_the_candidates(candidates: int, days: int, expected: object) -> None:
    assert stages(candidates, days) == expected


@pytest.mark.parametrize(
    ("sessions", "expected"),
    [
        pytest.param([5, 9, 1, 7], [1, 0, 3, 2], id="the busiest, a usual one, those between"),
        pytest.param([5], [0], id="one day"),
        pytest.param([], [], id="no day"),
    ],
)
def test_the_first_days_stand_for_all(sessions: list[int], expected: list[int]) -> None:
    assert representative(sessions) == expected


@given(st.lists(st.integers(0, 9), max_size=40))
def test_each_day_comes_once(sessions: list[int]) -> None:
    assert sorted(representative(sessions)) == [*range(len(sessions))]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(Figures(0, 0.0, 9), Figures(1, 0.0, 1), id="no cut before a lower cost"),
        pytest.param(Figures(0, 0.0, 9), Figures(0, 5.0, 1), id="no hopeless one before a cost"),
        pytest.param(Figures(0, 0.05, 3), Figures(0, 0.0, 5), id="the cheaper of two that meet"),
        pytest.param(Figures(0, 0.05, 3), Figures(0, 0.5, 1), id="one that meets the goal"),
        pytest.param(Figures(0, 0.2, 3), Figures(0, 0.5, 1), id="the nearer of two that miss"),
    ],
)
def test_the_more_promising_one_is_first(first: Figures, second: Figures) -> None:
    assert ranked([second, first], GOAL) == [1, 0]


@given(SEVERAL, st.data())
def test_halving_never_drops_one_for_another_that_it_dominates(
    figures: list[Figures], data: st.DataObject
) -> None:
    order = ranked(figures, GOAL)
    kept = data.draw(st.integers(0, len(figures)))
    for number in order[:kept]:
        assert not any(figures[dropped].dominates(figures[number]) for dropped in order[kept:])


@given(SEVERAL)
def test_the_front_dominates_all_others_and_none_of_itself(figures: list[Figures]) -> None:
    front = [figures[number] for number in undominated(figures)]
    for each in figures:
        assert (each in front) != any(other.dominates(each) for other in front)
