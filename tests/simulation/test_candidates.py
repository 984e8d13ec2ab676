"""Candidates: which values of a policy are varied, and that each candidate is a valid policy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.policy import Policy
from autoscaler.simulation.candidates import (
    PRIMES,
    candidates,
    edited_policy,
    halton,
    knobs,
    plain_policy,
)
from autoscaler.simulation.engine import Assumptions
from autoscaler.simulation.front import Placement
from tests.builders import policy

ASSUMED = Assumptions(seats=10)
LEARN = {"first": 10, "min": 5, "max": 40}
SESSIONS = {"type": "sessions", "seats": 10, "spare": 5}
LEARN = {"first": 10, "min": 5, "max": 40}
CPU = {"type": "cpu", "utilization": "70%"}
WINDOW = {"from": "08:00", "to": "18:00", "min": 4}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(
            {"metrics": [SESSIONS]},
            ["metrics.0.spare", "metrics.0.seats", "cooldown.down"],
            id="free seats, planned seats and the cooldown of a policy by sessions",
        ),
        pytest.param(
            {"metrics": [{**SESSIONS, "seats": "auto", "learn": LEARN}]},
            ["metrics.0.spare", "cooldown.down"],
            id="no seats that are learned",
        ),
        pytest.param(
            {"metrics": [CPU]}, ["metrics.0.utilization", "cooldown.down"], id="CPU's target"
        ),
        pytest.param(
            {"metrics": [{"type": "memory", "utilization": "80%"}]},
            ["cooldown.down"],
            id="never memory, which protects",
        ),
        pytest.param(
            {"metrics": [{"type": "prometheus", "query": "up", "perReplica": 15.0}]},
            ["metrics.0.perReplica", "cooldown.down"],
            id="the target of a query",
        ),
        pytest.param(
            {"metrics": [CPU], "behavior": {}, "cooldown": {"up": "1m"}},
            [
                "metrics.0.utilization",
                "cooldown.down",
                "cooldown.up",
                "behavior.scaleDown.stabilizationWindowSeconds",
            ],
            id="windows and cooldowns that it has",
        ),
        pytest.param(
            {"metrics": [CPU], "schedule": [WINDOW, {**WINDOW, "min": None, "max": 9}]},
            ["metrics.0.utilization", "cooldown.down", "schedule.0.min"],
            id="the minimum of a window that has one",
        ),
        pytest.param(
            {"metrics": [SESSIONS], "schedule": [{**WINDOW, "min": None, "spare": 30}]},
            ["metrics.0.spare", "metrics.0.seats", "cooldown.down", "schedule.0.spare"],
            id="the spare seats of a window that has some",
        ),
    ],
)
def test_only_what_a_policy_has_is_varied(settings: dict[str, Any], expected: list[str]) -> None:
    found = knobs(policy(**settings), ASSUMED)
    assert [".".join(map(str, knob.path)) for knob in found] == expected


def test_the_present_value_is_not_among_the_others() -> None:
    [spare, seats, cooldown] = knobs(policy(metrics=[SESSIONS], cooldown={"down": "5m"}), ASSUMED)
    assert 5 not in spare.values
    assert seats.values == (7, 8, 9)
    assert "5m" not in cooldown.values


def test_no_policy_plans_with_more_seats_than_a_pod_has() -> None:
    [_, seats, _] = knobs(policy(metrics=[SESSIONS]), Assumptions(seats=20))
    assert seats.values == (14, 16, 18, 20)


def test_the_current_policy_comes_first_then_those_with_one_other_value() -> None:
    own = policy(metrics=[SESSIONS])
    found = candidates(own, ASSUMED, (), 200)
    assert (found[0].policy, found[0].edits) == (own, {})
    edited = [len(each.edits) for each in found[1:28]]
    assert edited == [1] * 27
    assert len(found) == 200
    assert len({each.policy for each in found}) == 200


def test_a_small_space_has_fewer_candidates() -> None:
    memory = policy(metrics=[{"type": "memory", "utilization": "80%"}])
    assert len(candidates(memory, ASSUMED, (), 200)) == 1 + 5


def test_each_placement_is_tried_with_the_same_policies() -> None:
    found = candidates(policy(metrics=[SESSIONS]), ASSUMED, list(Placement), 40)
    assert len(found) == 40
    by_placement = {
        placement: [each.policy for each in found if each.assumptions.placement is placement]
        for placement in Placement
    }
    assert len(by_placement) == 4
    assert all(by_placement[Placement.PACKED] == each for each in by_placement.values())


@pytest.mark.parametrize(
    ("index", "base", "expected"), [(0, 2, 0), (1, 2, 0.5), (6, 2, 0.375), (5, 3, 7 / 9)]
)
def test_haltons_sequence_reverses_digits(index: int, base: int, expected: float) -> None:
    assert halton(index, base) == pytest.approx(expected)


@given(st.sampled_from(PRIMES), st.integers(1, 4))
def test_each_stretch_of_the_sequence_has_its_share(base: int, power: int) -> None:
    count = base**power
    assert sorted(int(halton(n, base) * count + 1e-6) for n in range(count)) == [*range(count)]


POLICIES = st.builds(
    policy,
    metrics=st.sampled_from([[SESSIONS], [CPU], [SESSIONS, CPU]]),
    schedule=st.sampled_from([[], [WINDOW], [WINDOW, {**WINDOW, "min": 2, "max": 5}]]),
    cooldown=st.sampled_from([{}, {"up": "1m"}, {"down": "7m"}]),
)


@settings(max_examples=20)
@given(POLICIES)
def test_each_candidate_is_a_valid_policy_of_its_edits(own: Policy) -> None:
    plain = plain_policy(own)
    for each in candidates(own, ASSUMED, (), 40):
        assert Policy.model_validate(plain_policy(each.policy)) == each.policy
        assert edited_policy(plain, each.edits) == each.policy
        assert each.policy.target == own.target
        assert each.policy.replicas == own.replicas
