"""A pod that somebody cordoned by hand is drained, replaced and counted, and stays cordoned."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.core.decide import decide
from autoscaler.core.drain.pods import is_cordoned_by_hand
from autoscaler.model import Occupancy, PodState, Reason, State
from autoscaler.policy import Policy
from tests.builders import NOW, observation, policy
from tests.core.drains import BUSY, EMPTY, leaving, planned, serving, told
from tests.core.story import Story

WRITER = "kubectl-label 2027-01-15T08:00:00Z"
HAND: dict[str, Any] = {"routable": False, "label_writer": WRITER}
QUICK = {"scaleDown": {"stabilizationWindowSeconds": 0}}


def hand(name: str, seen: Occupancy | None = BUSY, **more: Any) -> PodState:
    return leaving(name, seen, cordon=None, label_writer=WRITER, **more)


def test_which_pods_are_cordoned_by_hand() -> None:
    assert is_cordoned_by_hand(hand("a"))
    assert not is_cordoned_by_hand(leaving("a")), "we did"
    assert not is_cordoned_by_hand(serving("a")), "it serves"


def test_it_is_replaced_drained_and_removed_once_it_is_empty() -> None:
    story = Story(policy(replicas={"min": 2, "max": 9}, behavior=QUICK), 8, 3)
    story.edit("pod-1", **HAND)
    story.run(30)
    assert (story.replicas, story.cordoned) == (3, ["pod-1"]), "pod-2 takes its place"

    story.sessions["pod-1"] = 0
    story.run(60)
    assert (story.replicas, story.removed, story.cut) == (2, ["pod-1"], 0)


def test_the_decision_names_it_while_it_is_waited_for() -> None:
    story = Story(policy(replicas={"min": 2, "max": 9}, behavior=QUICK), 8, 3)
    story.edit("pod-1", **HAND)
    story.run(60)
    decision = story.decisions[-1]
    words = "draining pod-1 (3 sessions, cordoned by hand by kubectl-label)"
    assert decision.detail == f"2 replicas wanted, {words}"

    [step] = planned(serving("a"), hand("b"), wanted=2, needed=1).steps
    assert (step.reason, step.detail) == (Reason.CORDONED, words.replace("pod-1", "b"))


def test_without_room_for_a_replacement_it_says_so() -> None:
    story = Story(policy(replicas={"min": 2, "max": 2}), 8, 3)
    story.edit("pod-1", **HAND)
    story.run(600)
    assert (story.replicas, story.cordoned, story.cut) == (2, ["pod-1"], 0)
    assert story.decisions[-1].detail == (
        "adding replicas to reach 2: pod-1 accept no new sessions, but replicas.max is 2"
    )


def test_it_is_asked_as_every_draining_pod_and_waits_for_the_settle_time() -> None:
    just_now = planned(serving("a"), hand("b", EMPTY, deletion_cost=None), wanted=1, since={})
    assert told(just_now) == {}, "users may still be on their way"
    later = planned(serving("a"), hand("b", EMPTY), wanted=1)
    assert told(later) == {"b": "mark"}


@pytest.mark.parametrize("sessions", [0, 5])
def test_when_load_returns_it_is_not_uncordoned(sessions: int) -> None:
    story = Story(policy(behavior=QUICK), 5, sessions, 0)
    story.edit("pod-1", **HAND)
    story.run(25)
    story.sessions |= {"pod-0": 60}
    story.run(25)
    assert "pod-1" in story.cordoned or "pod-1" in story.removed
    assert len([each for each in story.pods if each.name != "pod-1"]) >= 6


def test_it_serves_again_when_the_label_is_set_back() -> None:
    story = Story(policy(replicas={"min": 2, "max": 9}, behavior=QUICK), 8, 0)
    story.edit("pod-1", **HAND)
    story.run(30)  # it is empty and about to be removed
    story.edit("pod-1", routable=True, label_writer="")
    story.run(5)
    [back] = [each for each in story.pods if each.name == "pod-1"]
    assert (back.routable, back.deletion_cost, back.cordon) == (True, None, None)


def test_a_scale_down_takes_it_first_and_cordons_nobody_else() -> None:
    story = Story(policy(behavior=QUICK), 9, 9, 0, 0)
    story.edit("pod-1", **HAND)
    story.sessions["pod-1"] = 0
    story.run(15)
    assert "pod-1" in story.cordoned
    assert len(story.cordoned) == 3, "one more than is needed serves nobody"
    story.run(60)
    assert story.cut == 0
    assert "pod-1" in story.removed


def test_with_every_pod_cordoned_by_hand_one_is_added_and_no_more() -> None:
    story = Story(policy(behavior=QUICK), 3, 3)
    for name in ("pod-0", "pod-1"):
        story.edit(name, **HAND)
    story.most = 2  # and it does not even start
    story.run(300)
    assert (story.replicas, story.cordoned) == (3, ["pod-0", "pod-1"])

    story.most = 9
    story.run(300)
    assert story.replicas == 3


def test_recycling_goes_on_beside_it() -> None:
    rules = policy(recycle={"age": "1h"}, replicas={"min": 2, "max": 9}, behavior=QUICK)
    story = Story(rules, 2, 2, 0)
    story.edit("pod-1", **HAND)
    story.sessions["pod-0"] = 0
    story.run(600)
    assert "pod-0" in story.removed
    assert story.cordoned == ["pod-1"]


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(policy(), id="drains"),
        pytest.param(policy(drain="none"), id="no drains"),
        pytest.param(policy(recycle={"age": "1h"}), id="recycling"),
    ],
)
def test_a_label_that_somebody_set_is_never_written_by_us(rules: Policy) -> None:
    for seen in (BUSY, EMPTY, None):
        pods = (serving("a", 3), hand("b", seen), serving("c", 0))
        for replicas in (1, 2, 3, 5):
            decision, _ = decide(rules, observation(pods=pods, replicas=replicas), State(), NOW)
            notes = dict(decision.drain.marks) if decision.drain else {}
            assert not any(note.routable for each, note in notes.items() if each.name == "b")
