"""A shrink pod by pod: who is cordoned, who may go, and what holds it."""

from __future__ import annotations

import pytest

from autoscaler.core.drain.plan import plan_drain
from autoscaler.core.drain.pods import LOWEST_COST, is_drained
from autoscaler.core.drain.sightings import cordoned_for
from autoscaler.core.now import Now
from autoscaler.core.schedule import Bounds
from autoscaler.model import (
    Cause,
    Cordon,
    Occupancy,
    PodMarks,
    PodState,
    Reason,
    Resources,
    Sample,
    State,
)
from autoscaler.policy import Drain
from tests.builders import NOW, observation, policy
from tests.core.drains import BUSY, leaving, marked, planned, serving, sightings, told


@pytest.mark.parametrize(
    ("pods", "wanted", "expected"),
    [
        pytest.param(
            [serving("a", 5), serving("b", 2), serving("c", 9)],
            2,
            {"b": "cordon scale-down"},
            id="the pod with the fewest users",
        ),
        pytest.param(
            [serving("old", 2), serving("young", 2, created_at=NOW - 60), serving("c", 9)],
            2,
            {"young": "cordon scale-down"},
            id="of equal pods the youngest",
        ),
        pytest.param(
            [serving("a", 0), serving("b", None), serving("c", 9)],
            1,
            {"a": "cordon scale-down", "c": "cordon scale-down"},
            id="a pod without data counts as the fullest",
        ),
        pytest.param(
            [serving("a", 0), serving("new", None, phase="Pending", ready=None)],
            1,
            {"new": "cordon scale-down"},
            id="a pod that never served goes before an empty one",
        ),
        pytest.param(
            [serving("a", 0), serving("b", 0, ready=False)],
            1,
            {"b": "cordon scale-down"},
            id="the only pod that serves stays",
        ),
        pytest.param(
            [serving("a", 0), leaving("b", BUSY, protected=True)],
            1,
            {},
            id="as many as needed are on their way out already",
        ),
    ],
)
def test_a_surplus_pod_is_cordoned(
    pods: list[PodState], wanted: int, expected: dict[str, str]
) -> None:
    result = planned(*pods, wanted=wanted)
    assert told(result) == expected
    assert result.replicas == len(pods), "nothing goes in the pass that cordons"


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        pytest.param(leaving("x"), True, id="nobody there and nobody coming"),
        pytest.param(leaving("x", BUSY), False, id="users are connected"),
        pytest.param(
            leaving("x", BUSY, phase="Pending"),
            False,
            id="users of a pod that is said to be pending",
        ),
        pytest.param(leaving("x", Occupancy(0, opening=1)), False, id="a page is loading"),
        pytest.param(leaving("x", None), False, id="the sidecar does not answer"),
        pytest.param(leaving("x", ago=14), False, id="users may still be on their way"),
        pytest.param(
            leaving("x", Occupancy(0, empty_for=29)), False, id="one left just now and may be back"
        ),
        pytest.param(leaving("x", Occupancy(0, empty_for=30)), True, id="nobody came back"),
        pytest.param(leaving("x", Occupancy(0, blocked=1)), False, id="work goes on alone"),
        pytest.param(leaving("x", Occupancy(0, requests=1)), False, id="a download goes on"),
        pytest.param(leaving("x", Occupancy(0)), False, id="the sidecar cannot tell"),
        pytest.param(
            leaving("x", None, ago=1, phase="Pending", ready=None), True, id="it never served"
        ),
        pytest.param(serving("x", 0), False, id="it is not cordoned"),
    ],
)
def test_a_pod_is_vacated(one: PodState, expected: bool) -> None:
    assert is_drained(one, Drain(), cordoned_for(sightings(one), one, NOW), Now(NOW)) is expected


@pytest.mark.parametrize(
    ("seen", "ago", "expected"),
    [
        pytest.param(Occupancy(2, idle_for=400), 3_599, False, id="before the deadline"),
        pytest.param(Occupancy(2, idle_for=400), 3_600, True, id="idle users past the deadline"),
        pytest.param(Occupancy(2, idle_for=10), 3_600, False, id="a user at work pushes it out"),
        pytest.param(Occupancy(2, idle_for=10), 7_200, True, id="the hard deadline ends that"),
        pytest.param(None, 3_600, False, id="no answer is no idleness"),
        pytest.param(None, 7_200, True, id="the hard deadline needs no answer"),
    ],
)
def test_a_deadline_is_soft_unless_it_is_hard(
    seen: Occupancy | None, ago: float, expected: bool
) -> None:
    drain = policy(drain={"deadline": "1h", "hardDeadline": "2h"}).drain
    assert drain is not None
    assert is_drained(leaving("x", seen, ago=ago), drain, ago, Now(NOW)) is expected


def test_a_vacated_pod_is_marked_first_and_removed_in_a_later_pass() -> None:
    first = planned(serving("a"), leaving("b"), wanted=1)
    assert (told(first), first.replicas) == ({"b": "mark"}, 2)

    second = planned(serving("a"), marked("b"), wanted=1)
    assert ([p.name for p in second.remove], second.replicas) == (["b"], 1)
    assert second.steps[-1].reason is Reason.DRAINED


def test_the_pass_that_removes_marks_nobody_for_equal_marks_could_be_taken_instead() -> None:
    result = planned(serving("a"), marked("b"), leaving("c"), wanted=1)
    assert (told(result), [each.name for each in result.remove]) == ({}, ["b"])
    assert told(planned(serving("a"), leaving("c"), wanted=1)) == {"c": "mark"}


def test_marks_beyond_what_is_wanted_are_taken_back_first() -> None:
    result = planned(serving("a"), marked("b"), marked("c", uid="z"), wanted=2, needed=1)
    assert (result.remove, told(result)) == ((), {"c": "unmark"}), "it might have been either"

    result = planned(serving("a"), marked("b"), leaving("c", uid="z"), wanted=2, needed=1)
    assert ([p.name for p in result.remove], told(result)) == (["b"], {})


def test_users_who_come_back_before_the_shrink_keep_their_pod() -> None:
    result = planned(serving("a"), marked("b", BUSY, protected=True), wanted=1)
    assert (told(result), result.replicas) == ({"b": "unmark"}, 2)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        pytest.param(
            serving("a", ready=False), Reason.DELETION_ORDER_UNCERTAIN, id="a busy pod not Ready"
        ),
        pytest.param(
            serving("a", deletion_cost=-7), Reason.FOREIGN_DELETION_COST, id="a foreign cost"
        ),
        pytest.param(
            serving("a", 0, phase="Pending", ready=None),
            Reason.DELETION_ORDER_UNCERTAIN,
            id="a pod that still starts",
        ),
    ],
)
def test_a_shrink_that_might_take_another_pod_holds(other: PodState, reason: Reason) -> None:
    result = planned(serving("keep"), other, marked("b"), wanted=2)
    assert (result.replicas, result.steps[-1].reason) == (3, reason)


@pytest.mark.parametrize(
    ("other", "removed"),
    [
        pytest.param(serving("a", ready=False), [], id="not while one with users is not Ready"),
        pytest.param(serving("a"), ["new"], id="while all with users are Ready"),
        pytest.param(
            serving("a", None, phase="Pending", ready=None), ["new"], id="beside one like it"
        ),
    ],
)
def test_a_pod_that_still_starts_is_removed(other: PodState, removed: list[str]) -> None:
    """It may be Ready when the ReplicaSet acts, and whoever is not Ready then goes first."""
    new = marked("new", None, phase="Pending", ready=None, sessions=None)
    result = planned(serving("keep"), other, new, wanted=2)
    assert [pod.name for pod in result.remove] == removed


@pytest.mark.parametrize(
    ("wanted", "needed", "back", "replicas"),
    [
        pytest.param(3, 2, {"many": "uncordon"}, 3, id="one is enough: the one with most users"),
        pytest.param(3, 3, {"many": "uncordon", "few": "uncordon"}, 3, id="both come back"),
        pytest.param(5, 5, {"many": "uncordon", "few": "uncordon"}, 5, id="and two are made"),
        pytest.param(3, 1, {}, 3, id="a hold brings nobody back"),
    ],
)
def test_when_load_returns_cordoned_pods_come_back_before_any_is_made(
    wanted: int, needed: int, back: dict[str, str], replicas: int
) -> None:
    few, many = leaving("few", Occupancy(1), protected=True), leaving("many", BUSY, protected=True)
    result = planned(serving("a"), few, many, wanted=wanted, needed=needed)
    assert (told(result), result.replicas) == (back, replicas)


def test_a_pod_made_beside_a_full_one_that_drains_has_a_reason() -> None:
    metrics = [{"type": "sessions", "seats": 10}, {"type": "memory", "utilization": "80%"}]
    full = leaving("full", BUSY, memory=950_000, protected=True)
    result = planned(serving("a"), full, wanted=2, rules=policy(metrics=metrics))
    assert (told(result), result.replicas) == ({}, 3)
    assert result.steps[-1].detail == "adding replicas to reach 2: full accept no new sessions"


def test_when_no_serving_pod_is_ready_one_that_leaves_comes_back() -> None:
    result = planned(
        serving("a", ready=False), leaving("b", BUSY, protected=True), wanted=1, needed=1
    )
    assert told(result) == {"b": "uncordon"}


def test_without_any_number_nothing_moves() -> None:
    rules = policy()
    assert rules.drain is not None
    seen = observation(pods=(serving("a"), leaving("b", BUSY, protected=True)))
    result = plan_drain(rules, rules.drain, seen, 2, None, Bounds(1, 20), State(), Now(NOW))
    assert (result.marks, result.replicas) == ((), 2)


class TestFullPods:
    def test_a_full_pod_gets_no_new_users_while_another_has_room(self) -> None:
        result = planned(serving("full", 10), serving("b", 2), wanted=2)
        assert told(result) == {"full": "cordon full"}

    def test_the_last_pods_stay_open_however_full(self) -> None:
        assert told(planned(serving("a", 12), serving("b", 10), wanted=2)) == {}

    @pytest.mark.parametrize(
        ("sessions", "expected"),
        [(10, {}), (9, {"full": "uncordon"}), (None, {})],
        ids=["still full", "a seat is free again", "no data is no room"],
    )
    def test_it_comes_back_when_it_has_room(
        self, sessions: int | None, expected: dict[str, str]
    ) -> None:
        full = serving(
            "full", sessions, routable=False, cordon=Cordon(Cause.FULL, NOW - 60), protected=True
        )
        assert told(planned(full, serving("b", 2), wanted=2)) == expected

    def test_memory_counts_too(self) -> None:
        rules = policy(metrics=[{"type": "memory", "utilization": "80%"}])
        heavy = serving("heavy", 2, memory=900_000)
        result = planned(heavy, serving("b", 2, memory=100_000), wanted=2, rules=rules)
        assert told(result) == {"heavy": "cordon full"}


class TestRecycling:
    RULES = policy(recycle={"memory": "85%", "age": "24h"})

    def test_one_more_pod_comes_before_a_worn_one_goes(self) -> None:
        worn = serving("worn", 5, memory=850_000, created_at=NOW - 60)
        result = planned(worn, serving("b", created_at=NOW - 60), wanted=2, rules=self.RULES)
        assert (result.replicas, result.steps[-1].reason) == (3, Reason.RECYCLING)
        assert told(result) == {}

    def test_then_the_worn_one_is_the_surplus_however_many_users_it_has(self) -> None:
        worn = serving("worn", 9, created_at=NOW - 86_400)
        new = [serving("b", 5, created_at=NOW - 60), serving("c", 0, created_at=NOW - 60)]
        result = planned(worn, *new, wanted=2, rules=self.RULES)
        assert told(result) == {"worn": "cordon scale-down"}

    def test_not_before_the_new_one_is_ready(self) -> None:
        worn = serving("worn", 9, created_at=NOW - 86_400)
        new = serving("new", None, ready=False, created_at=NOW - 5)
        assert told(planned(worn, new, wanted=1, rules=self.RULES)) == {}

    def test_at_the_maximum_it_waits_and_says_so(self) -> None:
        worn = serving("worn", 9, created_at=NOW - 86_400)
        rules = policy(recycle={"age": "24h"}, replicas={"min": 1, "max": 1})
        result = planned(worn, wanted=1, rules=rules)
        assert (result.replicas, result.steps[-1].reason) == (1, Reason.RECYCLING)

    def test_off_by_default(self) -> None:
        worn = serving("worn", 5, memory=990_000)
        assert planned(worn, serving("b"), wanted=2).replicas == 2


@pytest.mark.parametrize(
    ("one", "marks"),
    [
        pytest.param(
            serving("x", 0, deletion_cost=LOWEST_COST, cost_is_ours=True),
            PodMarks(routable=True),
            id="a cost that a crash left behind",
        ),
        pytest.param(
            serving("x", 0, cordon=Cordon(Cause.SCALE_DOWN, NOW)),
            PodMarks(routable=True),
            id="a note on a pod that somebody put back by hand",
        ),
        pytest.param(
            serving("x", 1, protected=False),
            PodMarks(routable=True, protected=True),
            id="a pod with users is protected from node autoscalers",
        ),
        pytest.param(
            serving("x", 0, protected=True), PodMarks(routable=True), id="an empty one no more"
        ),
    ],
)
def test_leftovers_and_protection_are_kept_right(one: PodState, marks: PodMarks) -> None:
    assert planned(one, serving("b"), wanted=2).marks == ((one, marks),)


def test_a_pod_whose_memory_limit_is_unknown_is_neither_hot_nor_worn() -> None:
    rules = policy(metrics=[{"type": "memory", "utilization": "80%"}], recycle={"memory": "85%"})
    odd = serving("odd", memory=Sample(9 * 10**9, NOW), resources=Resources(1_000))
    result = planned(odd, serving("b", memory=1), wanted=2, rules=rules)
    assert (told(result), result.replicas) == ({}, 2)
