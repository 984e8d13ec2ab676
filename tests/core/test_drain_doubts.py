"""What a drain leaves alone, takes back, or waits for, when others have their hands in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.decide import decide
from autoscaler.core.drain.cleanup import released
from autoscaler.core.drain.confirm import confirm_removal, expect_removal
from autoscaler.core.now import Now
from autoscaler.model import (
    Cause,
    Confirmation,
    Cordon,
    Occupancy,
    PodMarks,
    PodState,
    Reason,
    State,
)
from autoscaler.policy import Policy
from tests.builders import NOW, observation, policy
from tests.core.drains import BUSY, EMPTY, leaving, marked, planned, serving, told

FULL = Cordon(Cause.FULL, NOW - 60)


def apart(name: str, sessions: int | None, **more: Any) -> PodState:
    """A full pod that new users are kept from."""
    return serving(name, sessions, routable=False, cordon=FULL, **more)


class TestAShrinkThatTheReplicaSetHasYetToCarryOut:
    """As after a crash of ours right behind the patch, while the controllers are away."""

    def test_its_pods_keep_their_marks_when_load_returns(self) -> None:
        pods = [serving("a", 20), serving("b", 20), marked("c"), marked("d", uid="z")]
        result = planned(*pods, wanted=2, needed=2, replicas=2)
        assert (told(result), result.replicas) == ({}, 2)

        result = planned(*pods, wanted=4, needed=4, replicas=3)
        assert told(result) == {"d": "uncordon"}, "and one is made"
        assert result.replicas == 4

    @pytest.mark.parametrize("other", [leaving("d"), marked("d", uid="z")], ids=["empty", "marked"])
    def test_meanwhile_nobody_else_is_marked_or_removed(self, other: PodState) -> None:
        result = planned(serving("a"), serving("b"), marked("c"), other, wanted=2, replicas=3)
        assert (told(result), result.remove, result.replicas) == ({}, (), 3)
        assert result.steps[-1].reason is Reason.DELETION_ORDER_UNCERTAIN
        assert "to delete 1 pod from the" in result.steps[-1].detail

    def test_a_rival_does_not_make_us_take_their_marks_back(self) -> None:
        pods = [serving("a", 3, protected=True), marked("b"), leaving("c")]
        assert [pod.name for pod, _ in released(pods, 2, Now(NOW))] == ["a", "c"]


class TestRollouts:
    OLD: tuple[PodState, ...] = (serving("a", 5), serving("b", 5))
    NEW: tuple[PodState, ...] = (
        serving("c", 0, replica_set="new"),
        serving("d", 0, phase="Pending", ready=None, replica_set="new"),
    )

    def test_the_new_pods_are_no_surplus(self) -> None:
        seen = {"replicas": 2, "rollout_in_progress": True}
        result = planned(*self.OLD, *self.NEW, wanted=2, **seen)
        assert (told(result), result.replicas) == ({}, 2)

    def test_they_do_not_go_in_place_of_a_pod_that_still_has_users(self) -> None:
        left = leaving("b", BUSY, protected=True)
        seen = {"replicas": 2, "rollout_in_progress": True}
        assert told(planned(self.OLD[0], left, *self.NEW, wanted=2, needed=1, **seen)) == {}

    def test_a_worn_pod_is_not_replaced_twice(self) -> None:
        rules = policy(recycle={"age": "24h"})
        result = planned(*self.OLD, wanted=2, rules=rules, rollout_in_progress=True)
        assert (told(result), result.replicas) == ({}, 2)


class TestSomebodyElseWritesCosts:
    def test_nobody_is_marked_then_and_the_writer_is_named(self) -> None:
        theirs = serving("b", deletion_cost=7, cost_writer="karpenter")
        result = planned(serving("a"), theirs, leaving("c"), wanted=2)
        assert (told(result), result.replicas) == ({}, 3)
        assert result.steps[-1].reason is Reason.FOREIGN_DELETION_COST
        assert result.steps[-1].detail == (
            "not scaling down: karpenter sets controller.kubernetes.io/pod-deletion-cost on b; "
            "turn that off for this Deployment"
        )

    @pytest.mark.parametrize("cost", [None, 7], ids=["removed our cost", "wrote over our cost"])
    def test_what_is_left_of_our_note_is_removed(self, cost: int | None) -> None:
        stray = serving("a", deletion_cost=cost, stray_mark=True)
        assert planned(stray, serving("b"), wanted=2).marks == (
            (stray, PodMarks(routable=True, protected=True)),
        )

    def test_an_empty_pod_that_lost_its_mark_is_marked_again(self) -> None:
        result = planned(serving("a"), leaving("b", stray_mark=True), wanted=1)
        assert told(result) == {"b": "mark"}


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param(
            [leaving("silent", None, sessions=None), leaving("few", Occupancy(1), protected=True)],
            {"few": "uncordon"},
            id="of a silent pod nobody knows whether it has room",
        ),
        pytest.param(
            [leaving("many", BUSY, ready=False, protected=True), leaving("few", EMPTY)],
            {"few": "uncordon"},
            id="one that is not Ready helps nobody",
        ),
    ],
)
def test_who_comes_back_first(pods: list[PodState], expected: dict[str, str]) -> None:
    result = planned(serving("a"), *pods, wanted=3, needed=2)
    assert (told(result), result.replicas) == (expected, 3)


def test_a_pod_that_never_served_goes_in_place_of_one_that_waits_for_its_users() -> None:
    starting = {"phase": "Pending", "ready": None, "sessions": None}
    a, busy = serving("a"), leaving("busy", BUSY, protected=True)
    first = planned(a, busy, serving("new", **starting), wanted=2)
    assert told(first) == {"new": "cordon scale-down"}

    second = planned(a, busy, leaving("new", None, **starting), wanted=2)
    assert told(second) == {"busy": "uncordon"}


def test_a_pod_for_new_users_stays_whoever_else_has_fewer() -> None:
    pods = [apart("full", 10), serving("a", 0), serving("b", 3)]
    assert told(planned(*pods, wanted=1)) == {"a": "cordon scale-down", "full": "cordon scale-down"}

    last = [apart("full", 10), serving("a", 0, ready=False)]
    assert told(planned(*last, wanted=1)) == {"a": "cordon scale-down", "full": "uncordon"}


def asked_for(pods: tuple[PodState, ...], rules: Policy) -> int | None:
    """Replicas, by the sessions."""
    decision, _ = decide(rules, observation(pods=pods), State(), NOW)
    return decision.recommendations[0].replicas


class TestAPodThatLeakedMemory:
    METRICS: tuple[dict[str, Any], ...] = (
        {"type": "sessions", "seats": 10},
        {"type": "memory", "utilization": "80%"},
    )
    RULES = policy(metrics=METRICS)

    def test_without_users_it_needs_no_place_of_its_own(self) -> None:
        leaky = apart("leaky", 0, memory=990_000)
        enough, more = (leaky, serving("b", 5)), (leaky, serving("b", 15))
        assert asked_for(enough, self.RULES) == 1
        assert asked_for(more, self.RULES) == 3, "nor does it give anybody one"
        assert asked_for((replace(leaky, sessions=None), serving("b", 5)), self.RULES) == 2

    def test_it_is_replaced_where_the_policy_says_so(self) -> None:
        rules = policy(recycle={"memory": "85%"}, metrics=self.METRICS)
        pods = [apart("leaky", 5, memory=990_000), serving("b", 5, memory=1)]
        assert planned(*pods, wanted=2, rules=rules).replicas == 3
        pods.append(serving("c", 0, memory=1))
        assert told(planned(*pods, wanted=2, rules=rules)) == {"leaky": "cordon scale-down"}

    def test_it_does_not_come_back_when_load_returns(self) -> None:
        pods = [serving("a", 5, memory=1), leaving("leaky", BUSY, memory=990_000, protected=True)]
        result = planned(*pods, wanted=2, rules=self.RULES)
        assert (told(result), result.replicas) == ({}, 3)

    def test_it_is_the_first_to_go(self) -> None:
        leaky = apart("leaky", 0, memory=990_000, protected=False)
        pods = [serving("a", 0, memory=1), serving("b", 5, memory=1), leaky]
        result = planned(*pods, wanted=2, rules=self.RULES)
        assert told(result) == {"leaky": "cordon scale-down"}


class TestWornPods:
    RULES = policy(recycle={"age": "24h"})
    YOUNG = NOW - 60

    def test_only_one_of_them_goes_before_emptier_pods(self) -> None:
        worn = [serving("w1", 9, created_at=NOW - 90_000), serving("w2", 9)]
        young = [serving("a", 1, created_at=self.YOUNG), serving("b", 2, created_at=self.YOUNG)]
        result = planned(*worn, *young, wanted=2, rules=self.RULES)
        assert told(result) == {"w1": "cordon scale-down", "a": "cordon scale-down"}

    def test_a_successor_that_does_not_start_holds_up_nobody_else(self) -> None:
        stuck = serving("new", None, phase="Pending", ready=None, created_at=self.YOUNG)
        pods = [serving("worn", 9), stuck, serving("a", 0, created_at=self.YOUNG)]
        assert told(planned(*pods, wanted=2, rules=self.RULES)) == {}, "the one that it is for"
        assert "a" not in told(planned(*pods, wanted=1, rules=self.RULES))
        assert told(planned(*pods, wanted=1, rules=self.RULES)) == {"new": "cordon scale-down"}


def test_a_cordon_from_before_the_clock_was_set_back_counts_from_now() -> None:
    result = planned(serving("a"), leaving("b", ago=-3_600), wanted=1)
    assert result.marks == ((result.marks[0][0], PodMarks(False, Cordon(Cause.SCALE_DOWN, NOW))),)


@pytest.mark.parametrize(
    ("rules", "seen"),
    [
        pytest.param({"drain": "none"}, {}, id="the policy was edited to drain none"),
        pytest.param(
            {}, {"other_autoscaler": "HorizontalPodAutoscaler app"}, id="another autoscaler came"
        ),
    ],
)
def test_where_drains_are_not_ours_pods_get_everything_back(
    rules: dict[str, Any], seen: dict[str, Any]
) -> None:
    by_hand = serving("by-hand", 5, routable=False, protected=False)
    pods = (
        marked("a"),
        apart("b", 9),
        serving("c", 5),
        serving("d", 5, protected=False),
        by_hand,
    )
    decision, _ = decide(policy(**rules), observation(pods=pods, **seen), State(), NOW)
    assert decision.drain is not None
    notes = {pod.name: note for pod, note in decision.drain.marks}
    assert notes == dict.fromkeys(["a", "b", "c"], PodMarks(routable=True))


A, B, C = serving("a", 3), serving("b", 2), marked("c")
LATE = marked("c", None, sessions=None)


@pytest.mark.parametrize(
    ("victim", "left", "expected"),
    [
        pytest.param(C, (A, B), Confirmation(1), id="the chosen one went"),
        pytest.param(
            C, (A, B, replace(C, deleting=True)), Confirmation(1), id="it is being deleted"
        ),
        pytest.param(C, (A, B, C), None, id="nobody went yet"),
        pytest.param(C, (B, C), Confirmation(0, 3, True), id="another went, with its users"),
        pytest.param(
            marked("c", BUSY), (A, B), Confirmation(1, 3), id="past its deadline, with three users"
        ),
        pytest.param(
            replace(LATE, sessions=serving("x", 4).sessions),
            (A, B),
            Confirmation(1, 4),
            id="silent past its deadline: as many as were scraped last",
        ),
    ],
)
def test_how_a_shrink_ended(
    victim: PodState, left: tuple[PodState, ...], expected: Confirmation | None
) -> None:
    begun = expect_removal((victim,), observation(pods=(A, B, victim)), NOW)
    assert confirm_removal(begun, observation(pods=left, replicas=2)) == expected


def test_a_shrink_that_somebody_takes_back_has_ended() -> None:
    begun = expect_removal((C,), observation(pods=(A, B, C)), NOW)
    assert confirm_removal(begun, observation(pods=(A, B, C), replicas=3)) == Confirmation(0)
