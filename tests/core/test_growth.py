"""Every path to more replicas obeys `behavior`, or says why there is no more."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.core.decide import decide
from autoscaler.model import Cause, Cordon, Occupancy, PodState, Reason, State
from tests.builders import NOW, observation, pod, policy
from tests.core.drains import serving
from tests.core.story import Story

OFF: dict[str, Any] = {"scaleUp": {"selectPolicy": "Disabled"}}
BY_ONE = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}
METRICS = [{"type": "sessions", "seats": 10}, {"type": "memory", "utilization": "80%"}]
QUICK = {"scaleDown": {"stabilizationWindowSeconds": 0}}


def heavy(name: str) -> PodState:
    """A draining pod that is too close to its memory limit to be used again."""
    return pod(
        name,
        sessions=2,
        memory=960_000,
        routable=False,
        cordon=Cordon(Cause.SCALE_DOWN, NOW - 60),
        occupancy=Occupancy(2),
        node="a",
        protected=True,
    )


class TestReplacingPodsThatCannotBeReused:
    """Load for 5 pods: two serve, and three drain and are close to their limit."""

    PODS = (
        serving("a", 25, memory=500_000),
        serving("b", 25, memory=500_000),
        *map(heavy, ("x", "y", "z")),
    )

    @pytest.mark.parametrize(
        ("more", "expected", "reason", "why"),
        [
            pytest.param({}, 8, Reason.SESSIONS_STILL_OPEN, "no new sessions", id="no behavior"),
            pytest.param(
                {"behavior": OFF}, 5, Reason.SCALE_UP_LIMIT, "allows 5 replicas now", id="disabled"
            ),
            pytest.param(
                {"behavior": BY_ONE}, 6, Reason.SCALE_UP_LIMIT, "allows 6 replicas now", id="by one"
            ),
            pytest.param(
                {"replicas": {"min": 1, "max": 7}},
                7,
                Reason.TOO_MANY_REPLICAS,
                "replicas.max is 7",
                id="the maximum",
            ),
            pytest.param(
                {"cooldown": {"up": "1m"}},
                5,
                Reason.COOLDOWN_UP,
                "cooldown.up lasts for 50s more",
                id="a cooldown",
            ),
        ],
    )
    def test_obeys(self, more: dict[str, Any], expected: int, reason: Reason, why: str) -> None:
        rules = policy(metrics=METRICS, **more)
        state = State(seen_at=NOW - 2, last_scale_up=NOW - 10)
        decision, _ = decide(rules, observation(pods=self.PODS), state, NOW)
        assert (decision.desired, decision.reason) == (expected, reason)
        assert decision.detail.startswith("adding replicas to reach 5: x, y, z accept no new")
        assert why in decision.detail

    def test_waits_for_the_scale_up_window(self) -> None:
        """A peak of one pass replaces nobody; one that lasts does."""
        rules = policy(metrics=METRICS, behavior={"scaleUp": {"stabilizationWindowSeconds": 60}})
        calm = (serving("a", 5, memory=500_000), serving("b", 5, memory=500_000), *self.PODS[2:])
        _, state = decide(rules, observation(pods=calm), State(seen_at=NOW - 2), NOW - 30)
        decision, state = decide(rules, observation(pods=self.PODS), state, NOW)
        assert decision.desired == 5
        decision, _ = decide(rules, observation(pods=self.PODS), state, NOW + 45)
        assert decision.desired == 8


class TestRecycling:
    @pytest.mark.parametrize(
        ("more", "reason", "why"),
        [
            pytest.param({"behavior": OFF}, Reason.RECYCLING, "allows 1 replicas", id="disabled"),
            pytest.param({"cooldown": {"up": "1m"}}, Reason.RECYCLING, "cooldown.up", id="resting"),
            pytest.param(
                {"replicas": {"min": 1, "max": 1}}, Reason.RECYCLING, "replicas.max is", id="at max"
            ),
        ],
    )
    def test_adds_no_pod_that_growth_may_not_and_says_why(
        self, more: dict[str, Any], reason: Reason, why: str
    ) -> None:
        rules = policy(recycle={"age": "1h"}, **more)
        state = State(seen_at=NOW - 2, last_scale_up=NOW - 10)
        decision, _ = decide(rules, observation(pods=(serving("worn", 9),)), state, NOW)
        assert (decision.desired, decision.reason) == (1, reason)
        assert decision.detail.startswith("cannot recycle worn: ")
        assert why in decision.detail

    def test_adds_no_pod_where_the_worn_one_can_never_be_cordoned(self) -> None:
        story = Story(policy(recycle={"age": "1h"}), 9, labelled=False)
        story.run(900)
        assert story.replicas == 1
        assert story.decisions[-1].reason is Reason.NOT_CORDONABLE

    @pytest.mark.parametrize("quota", [True, False], ids=["a quota", "no node has room"])
    def test_a_successor_that_does_not_start_is_waited_for_and_nothing_loops(
        self, quota: bool
    ) -> None:
        story = Story(policy(recycle={"age": "1h"}, behavior=QUICK), 9)
        story.most = 1 if quota else 2
        story.run(5)
        if not quota:
            story.edit("pod-1", phase="Pending", ready=None, node="")
        story.run(3_600)
        assert (story.replicas, story.cordoned, story.removed) == (2, [], [])
        changes = [each for each in story.decisions if each.direction != "none"]
        assert len(changes) == 1


class TestReplicasWithoutPods:
    """A ResourceQuota lets only 4 of 10 replicas have a pod."""

    @pytest.mark.parametrize("busy", [0, 3])
    def test_a_removal_is_told_once(self, busy: int) -> None:
        story = Story(policy(behavior=QUICK), busy, 0, 0, 0)
        story.most, story.replicas = 4, 10
        story.run(120)
        assert (story.replicas, len(story.removed), story.cut) == (1, 3, 0)
        drained = [each for each in story.decisions if each.direction == "down"]
        removing = [each for each in drained if each.drain and each.drain.remove]
        assert len(removing) == 1

    def test_they_are_given_up_although_every_pod_is_needed(self) -> None:
        story = Story(policy(behavior=QUICK), 9, 9, 9, 9)
        story.most, story.replicas = 4, 10
        story.run(60)
        assert (story.replicas, story.removed) == (4, [])
        [down] = [each for each in story.decisions if each.direction == "down"]
        assert down.detail == "removing 6 replicas that never had a pod"

    def test_not_while_the_controller_may_still_know_of_a_pod_that_is_gone(self) -> None:
        """It would remove another pod for the one that it has not seen go."""
        story = Story(policy(behavior=QUICK), 9, 9, 9)
        story.most, story.replicas = 3, 4
        story.run(5)
        for _ in range(3):
            story.pods.pop()  # somebody deletes a pod; it is not replaced yet
            story.most = len(story.pods)
            story.run(5)
            assert story.replicas == 4
