"""What windows of the schedule set besides bounds, on generated sessions."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.simulation.engine import Assumptions, Run, simulate
from autoscaler.simulation.score import score
from autoscaler.simulation.workloads import class_of_200
from tests.builders import policy

LESSON = class_of_200(1)
ASSUMED = Assumptions(seats=20, tick=15.0)
ALWAYS = {"from": "00:00", "to": "00:00"}


def lesson(spare: Any, **more: Any) -> Run:
    """The morning of a class that begins at nine, with so many spare seats."""
    sessions = [{"type": "sessions", "seats": 20, "spare": spare}]
    return simulate(policy(metrics=sessions, **more), LESSON, ASSUMED)


def test_seats_that_are_free_before_a_class_begins_cost_less_than_those_of_the_whole_day() -> None:
    before = {"from": "08:50", "to": "09:10", "spare": 200}
    few, ready, many = lesson(10), lesson(10, schedule=[before]), lesson(200)

    refused = [len(run.timeline.refused) for run in (few, ready, many)]
    assert refused[0] > 50
    assert refused[1:] == [0, 0]
    hours = [score(run, LESSON, 1).replica_hours for run in (few, ready, many)]
    assert hours[0] < hours[1] < 0.8 * hours[2]


@pytest.mark.parametrize(
    ("own", "settings"),
    [
        pytest.param({"spare": 5}, {"spare": "25%"}, id="a share of free seats"),
        pytest.param({"spare": 5}, {"spare": {"refuse": "1%"}}, id="free seats by arrivals"),
        pytest.param({"spare": {"refuse": "1%"}}, {"spare": 5}, id="a number of free seats"),
        pytest.param({"spare": 5}, {"placement": "spread"}, id="all pods"),
        pytest.param(
            {"spare": 5, "placement": "spread"}, {"placement": "packed"}, id="the fullest pods"
        ),
    ],
)
def test_a_window_that_is_always_open_does_what_a_policy_with_its_values_does(
    own: dict[str, Any], settings: dict[str, Any]
) -> None:
    scheduled = lesson(**own, schedule=[{**ALWAYS, **settings}])
    assert scheduled == lesson(**{**own, **settings})
    assert scheduled != lesson(**own)
