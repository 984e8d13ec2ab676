"""A pause, by the policy or by the Deployment: nothing is scaled, and what was cordoned serves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from autoscaler.core.decide import decide
from autoscaler.core.holds import blocking
from autoscaler.core.now import Now
from autoscaler.model import Observation, PodMarks, Reason, State, Step
from autoscaler.policy import Policy
from tests.builders import NOW, observation, policy
from tests.core.drains import BUSY, EMPTY, leaving, marked, serving
from tests.core.test_laws import a_policy, an_observation, states

PAUSED = {"paused": True}
BY_HAND = {"pause": "true"}
BY_POLICY = "not scaling: the policy says paused: true"
BY_ANNOTATION = "not scaling: the annotation bokeh-autoscaler/paused of the Deployment pauses it"


@pytest.mark.parametrize(
    ("rules", "seen", "words"),
    [
        pytest.param(PAUSED, {}, BY_POLICY, id="the policy says so"),
        pytest.param({}, BY_HAND, BY_ANNOTATION, id="the annotation says true"),
        pytest.param(
            {}, {"pause": "INC-7"}, f"{BY_ANNOTATION}: INC-7", id="the annotation gives a reason"
        ),
        pytest.param(PAUSED, {"pause": "INC-7"}, f"{BY_ANNOTATION}: INC-7", id="both say so"),
        pytest.param(
            PAUSED, {"other_autoscaler": "the HPA web"}, BY_POLICY, id="beside another autoscaler"
        ),
        pytest.param({**PAUSED, "drain": "none"}, {}, BY_POLICY, id="a policy without drains"),
    ],
)
@pytest.mark.parametrize("sessions", [(30,), (0, 0, 0)], ids=["too few pods", "too many pods"])
def test_a_paused_target_keeps_its_replicas_and_says_who_paused_it(
    rules: dict[str, Any], seen: dict[str, Any], words: str, sessions: tuple[int, ...]
) -> None:
    decision, _ = decide(policy(**rules), observation(*sessions, **seen), State(), NOW)

    assert decision.direction == "none"
    assert decision.steps[-1] == Step(Reason.PAUSED, len(sessions), words)


def test_a_target_with_no_replicas_is_paused_too() -> None:
    decision, _ = decide(policy(), observation(pods=(), **BY_HAND), State(), NOW)

    assert [step.reason for step in decision.steps] == [Reason.SCALING_DISABLED, Reason.PAUSED]


def test_a_pause_takes_cordons_and_marks_back_and_keeps_pods_with_users_protected() -> None:
    pods = (
        marked("drained", EMPTY),
        leaving("busy", BUSY, protected=True),
        serving("users", 5),
        serving("unprotected", 5, protected=False),
        serving("left", 0, protected=True),
        serving("by-hand", 5, routable=False),
    )
    decision, _ = decide(policy(), observation(pods=pods, **BY_HAND), State(), NOW)

    assert decision.drain is not None
    assert {pod.name: marks for pod, marks in decision.drain.marks} == {
        "drained": PodMarks(routable=True),
        "busy": PodMarks(routable=True, protected=True),
        "unprotected": PodMarks(routable=True, protected=True),
        "left": PodMarks(routable=True),
    }
    assert decision.drain.remove == ()


def test_a_pause_cordons_no_full_pod_and_recycles_none() -> None:
    pods = (serving("full", 10), serving("old", 1, started_at=NOW - 10**6), serving("open", 1))
    rules = policy(**PAUSED, recycle={"age": "24h"})
    decision, _ = decide(rules, observation(pods=pods), State(), NOW)

    assert decision.drain is None


@pytest.mark.parametrize("rules", [PAUSED, {}], ids=["paused", "not paused"])
def test_who_scales_by_hand_during_a_pause_is_no_foreign_writer(rules: dict[str, Any]) -> None:
    state = State(replicas_seen=3)
    seen = observation(5, 5, replicas_writer="kubectl")
    decision, after = decide(policy(**rules), seen, state, NOW)
    assert bool(decision.reset) is not rules.get("paused", False)
    assert after.replicas_seen == 2

    later, _ = decide(policy(), seen, after, NOW + 5)
    assert not later.reset


def test_a_pause_is_named_among_all_that_blocks_a_scale_down() -> None:
    seen = observation(0, 0, **BY_HAND)
    decision, _ = decide(policy(), seen, State(), NOW)
    blocks = blocking(policy(), seen, decision.recommendations, State(), Now(NOW))

    assert [step.reason for step in blocks] == [Reason.PAUSED]


@given(a_policy(), an_observation(), states)
def test_whatever_is_seen_a_pause_changes_no_number_and_keeps_nobody_away(
    chosen: Policy, seen: Observation, state: State | None
) -> None:
    paused = chosen.model_copy(update=PAUSED)
    decision, _ = decide(paused, seen, state, NOW)

    assert decision.desired == decision.current
    for pod, marks in decision.drain.marks if decision.drain else ():
        assert marks.routable >= pod.routable
        assert marks.cordon is None
        assert marks.cost is None
