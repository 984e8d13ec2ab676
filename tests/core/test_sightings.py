"""Times of a drain count from what this daemon has seen, not from what anybody wrote down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.decide import decide
from autoscaler.core.drain.sightings import INFORMER_LAG, cordoned_for, follow, too_fresh
from autoscaler.core.now import Now
from autoscaler.model import Cause, Cordon, PodState, Sighting, State
from tests.builders import NOW, observation, policy
from tests.core.drains import BUSY, leaving, marked, planned, serving, sightings, told

LONG = 3_600.0


def seen_over(*looks: tuple[float, PodState]) -> dict[str, Sighting]:
    """The sightings after looks at pods, each so many seconds from now (negative: ago)."""
    seen: dict[str, Sighting] = {}
    for at, each in looks:
        seen = dict(follow(seen, [each], NOW + at))
    return seen


CORDONED = leaving("x", ago=LONG)
OPEN = replace(CORDONED, routable=True)
TOUCHED = replace(CORDONED, label_writer="kubectl-label 2027-01-15T08:00:00Z")


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        pytest.param([], 0, id="it was never seen, whatever its note says"),
        pytest.param([(0, CORDONED)], 0, id="this is the first look, as after a restart"),
        pytest.param([(-20, CORDONED), (-10, CORDONED), (0, CORDONED)], 20, id="since the first"),
        pytest.param(
            [(-20, CORDONED), (-10, OPEN), (-5, CORDONED), (0, CORDONED)], 5, id="anew after a gap"
        ),
        pytest.param(
            [(-20, CORDONED), (-5, TOUCHED), (0, TOUCHED)],
            5,
            id="anew after somebody set the label to and fro between two looks",
        ),
        pytest.param(
            [(-20, CORDONED), (0, replace(CORDONED, ready=False))], 20, id="not Ready meanwhile"
        ),
        pytest.param([(-20, CORDONED), (0, OPEN)], 0, id="it is not cordoned"),
    ],
)
def test_how_long_a_pod_has_been_cordoned(
    looks: list[tuple[float, PodState]], expected: float
) -> None:
    last = looks[-1][1] if looks else CORDONED
    assert cordoned_for(seen_over(*looks), last, NOW) == expected


MARKED = marked("x")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(CORDONED, MARKED, id="the mark was made"),
        pytest.param(MARKED, CORDONED, id="the mark was taken back"),
        pytest.param(replace(MARKED, ready=False), MARKED, id="it was not Ready"),
        pytest.param(MARKED, replace(MARKED, ready=False), id="it is no longer Ready"),
        pytest.param(
            MARKED, replace(MARKED, ready_since=NOW - 12), id="it was not Ready for a moment"
        ),
        pytest.param(replace(MARKED, phase="Pending"), MARKED, id="it has just started"),
        pytest.param(replace(MARKED, node=""), MARKED, id="it had no node"),
    ],
)
def test_a_change_counts_once_the_controller_must_have_seen_it(
    before: PodState, after: PodState
) -> None:
    fresh = seen_over((-LONG, before), (-INFORMER_LAG + 1, after))
    assert too_fresh(fresh, [after], Now(NOW)).startswith("waiting 1s until")

    old = seen_over((-LONG, before), (-INFORMER_LAG, after))
    assert too_fresh(old, [after], Now(NOW)) == ""


def test_while_no_pod_is_cordoned_nothing_is_kept() -> None:
    assert follow(sightings(CORDONED), [OPEN, serving("a")], NOW) == {}


class TestTheScaleDown:
    """`a` serves, `x` is empty and marked."""

    def remove(self, *pods: PodState, since: dict[str, Sighting]) -> list[str]:
        result = planned(*pods, wanted=1, since=since)
        assert told(result) == {}, "nothing is written while the controller's view is waited for"
        return [pod.name for pod in result.remove]

    def test_waits_until_the_mark_is_known(self) -> None:
        a, x = serving("a"), marked("x")
        known = sightings(a, x)
        assert self.remove(a, x, since=known) == ["x"]

        fresh = known | {x.uid: known[x.uid]._replace(unchanged_since=NOW - 9)}
        assert self.remove(a, x, since=fresh) == []

    def test_waits_until_another_pod_is_known_to_be_ready_again(self) -> None:
        a, x = serving("a"), marked("x")
        known = sightings(a, x)
        back = known | {a.uid: known[a.uid]._replace(unchanged_since=NOW - 9)}
        assert self.remove(a, x, since=back) == []

    def test_says_what_it_waits_for(self) -> None:
        a, x = serving("a"), marked("x")
        fresh = sightings(a, x) | {x.uid: sightings(x)[x.uid]._replace(unchanged_since=NOW - 2)}
        assert planned(a, x, wanted=1, since=fresh).steps[-1].detail == (
            "1 replica wanted, draining x (empty): waiting 8s until the ReplicaSet "
            "controller has certainly seen x"
        )


def test_after_a_restart_an_empty_pod_keeps_its_mark_and_waits() -> None:
    result = planned(serving("a"), marked("x"), wanted=1, since={})
    assert (told(result), result.remove) == ({}, ())


def test_after_a_restart_a_mark_on_a_pod_with_users_is_taken_back() -> None:
    busy = marked("x", BUSY, protected=True)
    assert told(planned(serving("a"), busy, wanted=1, since={})) == {"x": "unmark"}


@given(
    note_age=st.floats(-1e5, 1e5),
    interval=st.floats(1, 8),
    steps=st.lists(st.sampled_from([-3_600.0, -20.0, 20.0, 3_600.0, 0.0]), max_size=12),
)
def test_whatever_a_note_and_the_clocks_say_an_empty_pod_stays_for_settle_and_the_lag(
    note_age: float, interval: float, steps: list[float]
) -> None:
    """A daemon takes over that has never seen the pods; its clock is set now and then."""
    rules = policy(behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    assert rules.drain is not None
    x = leaving("x", cordon=Cordon(Cause.SCALE_DOWN, NOW - note_age), created_at=NOW - 2 * LONG)
    state, steady, now, marked_at = State(seen_at=NOW), 0.0, NOW, None
    for step in [*steps, *[0.0] * 60]:
        state, now = state.shifted(step), now + step + interval
        steady += interval
        pods = (serving("a", at=now), x)
        decision, state = decide(rules, observation(pods=pods), state, now)
        assert decision.drain is not None
        if decision.drain.remove:
            assert marked_at is not None
            assert steady - interval >= rules.drain.settle
            assert steady - marked_at >= INFORMER_LAG
            return
        x = noted(x, decision.drain.marks)
        if marked_at is None and x.deletion_cost is not None:
            marked_at = steady
    raise AssertionError("it never goes")


def noted(pod: PodState, notes: Any) -> PodState:
    for each, note in notes:
        if each.uid == pod.uid:
            return replace(
                pod,
                routable=note.routable,
                cordon=note.cordon,
                deletion_cost=note.cost,
                cost_is_ours=note.cost is not None,
                protected=note.protected,
            )
    return pod
