"""Scores by hand: two replicas of 10 seats for an hour, 3 wanted in the second half."""

from __future__ import annotations

import pytest

from autoscaler.simulation.engine import Run
from autoscaler.simulation.score import Score, score, static_fleet
from autoscaler.simulation.timeline import Change, Steps, Timeline
from autoscaler.simulation.trace import Session, Trace, trace_of

HOUR = 3_600.0


def crowd() -> Trace:
    """10 users for the hour, 20 more in its second half: 1 replica wanted, then 3."""
    early, late = Session(0.0, HOUR), Session(HOUR / 2, HOUR)
    return trace_of("crowd", [early] * 10 + [late] * 20)


def scored() -> Score:
    """2 replicas ready all the time, a third one billed in the last quarter; 10 users refused."""
    timeline = Timeline(
        start=0.0,
        end=HOUR,
        seats=10,
        sessions=Steps((0.0, HOUR / 2), (10, 20)),
        ready=Steps((0.0,), (2,)),
        billed=Steps((0.0, 0.75 * HOUR), (2, 3)),
        desired=Steps((0.0, 0.75 * HOUR), (2, 3)),
        refused=(HOUR / 2,) * 10,
        changes=(Change(0.75 * HOUR, 2, 3, "MetricAboveTarget", ""),),
    )
    return score(Run(timeline, served=19, cut=1, minutes_lost=2.5), crowd(), minimum=1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sessions", 30),
        ("refused", 10),
        ("refused_percent", 100 / 3),
        ("cut", 1),
        ("minutes_lost", 2.5),
        ("replica_hours", 2.25),  # 2 for three quarters, 3 for one
        ("regret", 12.5),  # 2.25 where 1 for half an hour and 3 for the other half are 2
        ("peak_replicas", 3),
        ("peak_sessions", 30),
        ("scale_ups", 1),
        ("scale_downs", 0),
        ("seat_utilization", 100 * 15 / 22.5),  # 15 session-hours on 22.5 seat-hours
        ("theta_u", 100 * 0.5 / 3),  # 1 of 3 missing for half the time
        ("theta_o", 50.0),  # 1 too many over 1 wanted for half the time
        ("tau_u", 50.0),
        ("tau_o", 50.0),
    ],
)
def test_each_score_is_what_it_comes_to_by_hand(name, expected):
    assert getattr(scored(), name) == pytest.approx(expected)


def test_demand_is_never_below_the_minimum_of_the_policy():
    quiet = trace_of("quiet", [Session(0.0, HOUR)])
    assert score(static_fleet(quiet, 10), quiet, minimum=2).tau_u == 100.0


def test_the_baseline_is_a_fleet_for_the_peak_that_never_changes():
    result = score(static_fleet(crowd(), 10), crowd(), minimum=1)
    assert (result.replica_hours, result.peak_replicas) == (3.0, 3)
    assert (result.refused, result.cut, result.scale_ups) == (0, 0, 0)
    assert result.tau_u == 0.0
