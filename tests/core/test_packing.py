"""Which pods new users go to: the fullest ones with seats enough, and the reserve behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from autoscaler.core.decide import decide
from autoscaler.core.drain.packing import Landing
from autoscaler.core.drain.plan import plan_drain
from autoscaler.core.now import Now
from autoscaler.core.schedule import Bounds
from autoscaler.core.sessions import landing_seats
from autoscaler.model import (
    Average,
    Cause,
    Cordon,
    Decision,
    PodState,
    Reset,
    Sample,
    State,
    Stays,
    Traffic,
)
from autoscaler.policy import Policy
from tests.builders import NOW, observation, policy
from tests.core.drains import BUSY, leaving, serving, sightings, told

HOUR = 3_600.0
FOUR_SPARE = {"type": "sessions", "seats": 10, "spare": 4}
RESERVE = Cordon(Cause.RESERVE, NOW - 60)
MINUTE_VISITS = Stays(0.0, Average(), Average(), NOW - 60, mean=600.0)


def reserve(name: str, sessions: int | None = 1, **more: Any) -> PodState:
    return serving(name, sessions, routable=False, cordon=RESERVE, **more)


def on(node: str, each: PodState, zone: str = "") -> PodState:
    return replace(each, node=node, zone=zone)


def since(hours: float, each: PodState) -> PodState:
    """The pod with an oldest session that has lasted so long."""
    count = each.sessions
    assert count is not None
    return replace(each, oldest_session=count._replace(value=round(NOW - hours * HOUR)))


def planned(
    *pods: PodState, landing: Landing | None, wanted: int | None = None, **seen: Any
) -> dict[str, str]:
    rules = policy()
    assert rules.drain is not None
    wanted = len(pods) if wanted is None else wanted
    traffic = Traffic(NOW, known=True, stays=MINUTE_VISITS)
    state = State(sightings=sightings(*pods), traffic=traffic)
    bounds, watched = Bounds(1, 20), observation(pods=pods, **seen)
    plan = plan_drain(rules, rules.drain, watched, wanted, wanted, bounds, state, Now(NOW), landing)
    return told(plan)


FEW = Landing(4, 1)
PLACEMENTS: dict[str, tuple[list[PodState], Landing | None, dict[str, str]]] = {
    "the emptiest pod goes to the reserve": (
        [serving("a", 4), serving("b", 2)],
        FEW,
        {"b": "cordon reserve"},
    ),
    "not while the others have hardly seats enough": ([serving("a", 6), serving("b", 2)], FEW, {}),
    "nor the last of so many pods": ([serving("a", 4), serving("b", 2)], Landing(4, 2), {}),
    "a full pod is none of them": (
        [serving("a", 9), serving("b", 4), serving("c", 2)],
        Landing(4, 2),
        {"c": "cordon reserve"},
    ),
    "the fullest of the reserve is opened when seats get few": (
        [serving("a", 7), reserve("b", 1), reserve("c", 3)],
        FEW,
        {"c": "uncordon"},
    ),
    "as many as are needed": (
        [serving("a", 7), reserve("b", 1), reserve("c", 8)],
        Landing(6, 1),
        {"b": "uncordon", "c": "uncordon"},
    ),
    "a pod without data has no seats": (
        [serving("a", None), reserve("b", 1)],
        FEW,
        {"b": "uncordon"},
    ),
    "one that is not Ready has none either": (
        [serving("a", 1, ready=False), reserve("b", 1)],
        FEW,
        {"b": "uncordon"},
    ),
    "one of the reserve that is full is no help": (
        [serving("a", 7), reserve("b", 10), reserve("c", 1)],
        FEW,
        {"c": "uncordon"},
    ),
    "nor one without data, unless there is no other": (
        [serving("a", 10), reserve("b", None)],
        FEW,
        {"b": "uncordon"},
    ),
    "one without the label cannot be closed": (
        [serving("a", 4), serving("b", 2, labelled=False)],
        FEW,
        {},
    ),
    "none is closed in doubt": (
        [serving("a", 4), serving("b", 2)],
        FEW._replace(may_close=False),
        {},
    ),
    "in doubt too pods are opened": (
        [serving("a", 7), reserve("b", 1)],
        FEW._replace(may_close=False),
        {"b": "uncordon"},
    ),
    "not all of the open pods are on one node": (
        [serving("a", 4), serving("b", 3), on("n2", serving("c", 1))],
        Landing(4, 2),
        {"b": "cordon reserve"},
    ),
    "one on another node is opened before a fuller one": (
        [serving("a", 4), reserve("b", 3), on("n2", reserve("c", 1))],
        Landing(4, 2),
        {"c": "uncordon"},
    ),
    "unless all pods are on the same": (
        [serving("a", 4), reserve("b", 3), reserve("c", 1)],
        Landing(4, 2),
        {"b": "uncordon"},
    ),
    "one in another zone is opened before a fuller one on another node": (
        [
            on("n1", serving("a", 4), "north"),
            on("n2", reserve("b", 3), "north"),
            on("n3", reserve("c", 1), "south"),
        ],
        Landing(4, 2),
        {"c": "uncordon"},
    ),
    "not all of the open pods are in one zone": (
        [
            on("n1", serving("a", 4), "north"),
            on("n2", serving("b", 3), "north"),
            on("n3", serving("c", 1), "south"),
        ],
        Landing(4, 2),
        {"b": "cordon reserve"},
    ),
    "a pod of which nobody knows the zone is in no other one": (
        [
            on("n1", serving("a", 4), "north"),
            on("n2", reserve("b", 3)),
            on("n3", reserve("c", 1), "south"),
        ],
        Landing(4, 2),
        {"c": "uncordon"},
    ),
    "all are opened where new users go to all pods": (
        [serving("a", 4), reserve("b", 2)],
        None,
        {"b": "uncordon"},
    ),
    "a forgotten tab keeps its pod open": (
        [serving("a", 4), since(3, serving("b", 2))],
        FEW,
        {"a": "cordon reserve"},
    ),
}


@pytest.mark.parametrize(
    ("pods", "landing", "expected"), PLACEMENTS.values(), ids=PLACEMENTS.keys()
)
def test_new_users_go_to_the_fullest_pods_that_have_seats_enough(
    pods: list[PodState], landing: Landing | None, expected: dict[str, str]
) -> None:
    assert planned(*pods, landing=landing) == expected


LATE = since(3, leaving("a", BUSY, sessions=1, protected=True))
DRAINS: dict[str, tuple[list[PodState], dict[str, str]]] = {
    "the reserve is drained first": (
        [serving("a", 3), reserve("b", 3), serving("c", 6)],
        {"b": "cordon scale-down"},
    ),
    "a forgotten tab is drained last": (
        [since(3, reserve("a", 1)), serving("b", 3), serving("c", 6)],
        {"b": "cordon scale-down"},
    ),
    "a session of the usual length is not forgotten": (
        [since(0.4, reserve("a", 1)), serving("b", 3), serving("c", 6)],
        {"a": "cordon scale-down"},
    ),
    "a pod that drains for a forgotten tab serves, and another one is drained": (
        [
            LATE,
            serving("b", 3),
            serving("c", 6),
        ],
        {"a": "uncordon", "b": "cordon scale-down"},
    ),
    "it drains on while every pod has one": (
        [
            LATE,
            since(3, serving("b", 3)),
            since(3, serving("c", 6)),
        ],
        {},
    ),
}


@pytest.mark.parametrize(("pods", "expected"), DRAINS.values(), ids=DRAINS.keys())
def test_pods_are_drained_that_will_be_empty_soonest(
    pods: list[PodState], expected: dict[str, str]
) -> None:
    found = planned(*pods, landing=Landing(100, 1), wanted=2)
    assert {name: what for name, what in found.items() if name in expected} == expected
    assert [
        name for name, what in found.items() if what != "uncordon" and name not in expected
    ] == []


def test_load_that_returns_lets_a_draining_pod_into_the_reserve_while_others_have_seats() -> None:
    found = planned(serving("a", 4), leaving("b", sessions=2), landing=FEW, wanted=2)
    assert found == {"b": "cordon reserve"}


def decided(
    rules: Policy,
    *pods: PodState,
    came: float = 0.01,
    seen: Mapping[str, Any] = MappingProxyType({}),
    **remembered: Any,
) -> Decision:
    average = Average(came, came, NOW - 60)
    traffic = Traffic(NOW - 2, average, average, known=True)
    state = State(seen_at=NOW - 2, traffic=traffic, **remembered)
    return decide(rules, observation(pods=pods, **seen), state, NOW)[0]


def reserved(decision: Decision) -> list[str]:
    marks = told(decision.drain) if decision.drain else {}
    return [name for name, what in marks.items() if what == "cordon reserve"]


DECISIONS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "by default": ({}, ["c"]),
    "with two open pods, if two are the minimum": ({"replicas": {"min": 2, "max": 9}}, ["c"]),
    "with as many open pods as the policy says": ({"placement": {"minRoutable": 3}}, []),
    "not if it says spread": ({"placement": "spread"}, []),
    "not without drains": ({"drain": "none"}, []),
    "not at the minimum, where it saves nothing": ({"replicas": {"min": 3, "max": 9}}, []),
    "not while another metric needs more": (
        {"metrics": [FOUR_SPARE, {"type": "cpu", "utilization": "50%"}]},
        [],
    ),
    "nor while it needs as many, for it may need more in the next pass": (
        {"metrics": [FOUR_SPARE, {"type": "cpu", "utilization": "65%"}]},
        [],
    ),
    "also beside a metric that needs less": (
        {"metrics": [FOUR_SPARE, {"type": "cpu", "utilization": "150%"}]},
        ["c"],
    ),
}


@pytest.mark.parametrize(("rules", "expected"), DECISIONS.values(), ids=DECISIONS.keys())
def test_when_new_users_are_packed(rules: dict[str, Any], expected: list[str]) -> None:
    pods = [serving(name, count, cpu=900) for name, count in (("a", 8), ("b", 6), ("c", 5))]
    assert reserved(decided(policy(**{"metrics": [FOUR_SPARE], **rules}), *pods)) == expected


@pytest.mark.parametrize(
    ("spare", "expected"),
    [(20, 20), ("50%", 40), ({"refuse": "0.1%", "forecast": "none"}, 6)],
    ids=["as many as the policy says", "the share that it says", "by the arrivals"],
)
def test_so_many_seats_are_open(spare: Any, expected: int) -> None:
    metric = policy(metrics=[{**FOUR_SPARE, "spare": spare}]).sessions
    assert metric is not None
    average = Average(0.02, 0.02, NOW)
    traffic = Traffic(NOW, average, average, known=True)

    assert landing_seats(metric, 80, traffic, 17.0, Now(NOW)) == expected


@pytest.mark.parametrize("came", [0.1, 0.4, 0.6, 5.0])
def test_users_who_leave_free_no_seats_for_others_because_they_may_leave_the_reserve(
    came: float,
) -> None:
    metric = policy(metrics=[FOUR_SPARE]).sessions
    assert metric is not None
    found = [
        landing_seats(
            metric,
            80,
            Traffic(NOW, Average(came, came, NOW), Average(left, left, NOW), known=True),
            17.0,
            Now(NOW),
        )
        for left in (0.0, 2 * came)
    ]
    assert found[0] == found[1] > came * 60


DOUBTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "in a rollout, for new users belong on the new pods": ({"rollout_in_progress": True}, {}),
    "on a stale cache, for the others may be gone": ({"confirmed_at": NOW - 60}, {}),
    "after somebody else has set the label": ({}, {"reset": Reset("helm set the label", NOW - 60)}),
}


@pytest.mark.parametrize(("seen", "remembered"), DOUBTS.values(), ids=DOUBTS.keys())
def test_no_pod_is_put_in_reserve_in_doubt(
    seen: dict[str, Any], remembered: dict[str, Any]
) -> None:
    pods = [serving(name, count) for name, count in (("a", 8), ("b", 6), ("c", 5))]
    assert "c" in reserved(decided(policy(metrics=[FOUR_SPARE]), *pods))
    found = decided(policy(metrics=[FOUR_SPARE]), *pods, seen=seen, **remembered)
    assert reserved(found) == []


def test_a_metric_without_a_number_may_need_more() -> None:
    rules = policy(metrics=[FOUR_SPARE, {"type": "cpu", "utilization": "90%"}])
    pods = [serving("a", 8), reserve("b", 6), reserve("c", 5)]
    plan = decided(rules, *pods).drain
    assert plan is not None
    assert told(plan) == {"b": "uncordon", "c": "uncordon"}


def test_the_largest_number_of_several_metrics_counts() -> None:
    first, second = (
        {"type": "prometheus", "query": name, "perReplica": 10} for name in ("busy", "idle")
    )
    said = {"busy": Sample(90_000, NOW), "idle": Sample(1_000, NOW)}
    rules = policy(metrics=[FOUR_SPARE, first, second])
    pods = [serving("a", 8), serving("b", 6), serving("c", 5)]
    assert reserved(decided(rules, *pods, seen={"external": said})) == []


def test_without_arrivals_new_users_go_to_all_pods() -> None:
    pods = [serving("a", 4), reserve("b", 2)]
    rules = policy(metrics=[{**FOUR_SPARE, "spare": 6}])
    plan = decide(rules, observation(pods=pods), State(seen_at=NOW - 2), NOW)[0].drain
    assert plan is not None
    assert told(plan) == {"b": "uncordon"}


def test_the_reserve_counts_as_free_seats() -> None:
    found = decided(policy(), serving("a", 8), reserve("b", 5))
    assert found.recommendations[0].detail.startswith("sessions: (13 connected")
