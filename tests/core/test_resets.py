"""While somebody else sets the replica count or our labels, nothing is scaled down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.decide import decide, record_scaling
from autoscaler.model import Cause, Cordon, Decision, Observation, Reason, State
from tests.builders import NOW, observation, pods, policy

RULES = policy(
    replicas={"min": 1, "max": 9},
    behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
    drain="none",
)
APPLY = "kubectl-client-side-apply"


def passes(*seen: Observation, every: float = 2.0, state: State | None = None) -> list[Decision]:
    """The decisions of passes that see these one after the other; none is carried out."""
    made = []
    for number, observed in enumerate(seen):
        decision, state = decide(RULES, observed, state, NOW + number * every)
        made.append(decision)
    return made


def five(**more: Any) -> Observation:
    return observation(2, 0, 0, 0, 0, **more)


def test_a_count_that_somebody_else_set_pauses_scale_downs_for_ten_minutes() -> None:
    first = observation(30, 0, 0)
    reset = five(replicas_writer=APPLY)
    told, *_, held, after = passes(first, reset, *[reset] * 299, reset)[1:]
    assert told.reset == f"{APPLY} set spec.replicas from 3 to 5"
    assert (told.desired, told.reason) == (5, Reason.FOREIGN_WRITER)
    assert held.detail == (f"not scaling down for 2s: {APPLY} set spec.replicas from 3 to 5"), (
        "one pass before the end"
    )
    assert held.reset == "", "it is news once"
    assert (after.desired, after.direction) == (1, "down")


def test_growth_is_not_paused() -> None:
    decision = passes(five(), observation(30, 0, replicas_writer="argocd-controller"))[-1]
    assert (decision.desired, decision.reason) == (3, Reason.METRIC_ABOVE_TARGET)
    assert decision.reset == "argocd-controller set spec.replicas from 5 to 2"


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param([five(replicas_writer=APPLY)], id="at first sight it may be as old as it is"),
        pytest.param([five(), five(replicas_writer=APPLY)], id="the count is what it was"),
        pytest.param([observation(30, 0, 0), five()], id="we did, or nobody knows who"),
    ],
)
def test_nothing_is_paused_where(seen: list[Observation]) -> None:
    decision = passes(*seen)[-1]
    assert (decision.desired, decision.reset) == (1, "")


def test_our_own_change_is_no_reset_even_if_the_writer_is_an_older_daemon() -> None:
    _, state = decide(RULES, observation(30, 0, 0), None, NOW)
    state = record_scaling(state, RULES, 3, 5, NOW)
    decision, _ = decide(RULES, five(replicas_writer="OpenAPI-Generator"), state, NOW + 2)
    assert decision.reset == ""


def test_a_label_that_somebody_else_gave_back_pauses_scale_downs_too() -> None:
    rules = policy(behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    kept, back = pods(2, 0)
    note = Cordon(Cause.SCALE_DOWN, NOW - 60)
    back = replace(back, cordon=note, label_writer="helm 2027-01-15T08:00:00Z")
    decision, state = decide(rules, observation(pods=(kept, back)), None, NOW)
    words = "helm set the label bokeh-autoscaler/routable of pod-1 back"
    assert decision.reset == words
    assert decision.steps[-1].detail == f"not scaling down for 10m: {words}"
    assert decision.drain is not None
    marks = {pod.name: note for pod, note in decision.drain.marks}
    assert (marks["pod-1"].routable, marks["pod-1"].cordon) == (True, None), "it is uncordoned"

    later, _ = decide(rules, observation(2, 0), state, NOW + 700)
    assert later.reset == ""
    assert later.drain is not None
    assert [note.cordon.cause for _, note in later.drain.marks if note.cordon] == [Cause.SCALE_DOWN]
