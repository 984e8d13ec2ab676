"""Sequences of events that would cost a session, leave a cordon behind or run the count up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.control.actor import UNSURE_FOR
from autoscaler.control.controller import Controller
from autoscaler.core.decide import decide, record_scaling
from autoscaler.errors import ClusterError, ConflictError
from autoscaler.model import PodMarks, PodState, State
from autoscaler.policy import Policy
from autoscaler.ports import LeadershipStatus, TargetState
from tests.builders import NOW, observation, pod, policy
from tests.drain.model_cluster import ModelCluster
from tests.drain.model_pod import Pod
from tests.drain.model_users import Session
from tests.fakes import FakeLeadership, FakePolicies

QUICK = {"scaleDown": {"stabilizationWindowSeconds": 10}}


def four_seats(least: int = 1, **more: Any) -> Policy:
    seats = [{"type": "sessions", "seats": 4}]
    return policy(replicas={"min": least, "max": 6}, metrics=seats, **{"behavior": QUICK, **more})


def controller(cluster: ModelCluster, policies: FakePolicies, **more: Any) -> Controller:
    return Controller(policies, cluster, cluster, cluster, cluster.clock, **more)


def run(cluster: ModelCluster, *daemons: Controller, passes: int) -> None:
    for _ in range(passes):
        cluster.interval()
        for daemon in daemons:
            daemon.run_pass()


def until_cordoned(cluster: ModelCluster, daemon: Controller) -> None:
    for _ in range(40):
        run(cluster, daemon, passes=1)
        if any(each.seen.cordon for each in cluster.pods):
            return
    pytest.fail("nobody was cordoned")


def join(one: Pod, users: int) -> None:
    for _ in range(users):
        one.users.add(Session("live"))


def leftovers(cluster: ModelCluster) -> list[str]:
    return [what for each in cluster.pods for what in each.leftovers()]


@pytest.mark.parametrize(
    ("more", "pods", "expected"),
    [
        pytest.param({"cooldown": {"down": "10m"}}, {}, 4, id="a cooldown"),
        pytest.param({}, {"labelled": False}, 3, id="pods that cannot be cordoned: none more"),
        pytest.param({}, {"silent": "pod-2"}, 4, id="a pod without data"),
        pytest.param(
            {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}, {}, 4, id="no shrink at all"
        ),
    ],
)
def test_a_hold_while_a_worn_pod_is_replaced_asks_for_one_more_pod_and_not_for_another(
    more: dict[str, Any], pods: dict[str, Any], expected: int
) -> None:
    rules = policy(recycle={"age": "24h"}, **more)
    born = dict.fromkeys(("pod-0", "pod-1", "pod-2"), NOW - 90_000)
    replicas, state = 3, None
    most = 0
    for now in (NOW + 5 * number for number in range(100)):
        while len(born) < replicas:
            born[f"pod-{len(born)}"] = now
        there = tuple(_worn(name, at, now, **pods) for name, at in born.items())
        decision, state = decide(rules, observation(pods=there, replicas=replicas), state, now)
        if decision.desired > replicas:
            state = record_scaling(state, rules, replicas, decision.desired, now)
        replicas = max(replicas, decision.desired)
        most = max(most, replicas)

    assert most == expected


def _worn(name: str, born: float, now: float, silent: str = "", labelled: bool = True) -> PodState:
    return pod(
        name,
        sessions=None if name == silent else 7 if born < NOW else 0,
        at=now,
        created_at=born,
        ready_since=born,
        started_at=born,
        labelled=labelled,
        node="a",
        protected=True,
    )


def test_a_full_pod_without_the_label_gets_none() -> None:
    """With it the pod would look as if a Service heeded it, and be drained."""
    bare = [
        pod(f"pod-{index}", sessions=count, labelled=False, protected=bool(count))
        for index, count in enumerate((10, 0, 0))
    ]

    decision, _ = decide(policy(), observation(pods=tuple(bare)), None, NOW)

    assert decision.drain is None or not decision.drain.marks


def test_a_standby_that_learns_of_a_removal_first_takes_back_what_the_other_left() -> None:
    cluster, rules = _shrinking(), four_seats(2)
    space = rules.target.namespace
    first, second = FakePolicies((rules,)), FakePolicies((rules,))
    leads = FakeLeadership({space: LeadershipStatus(True)})
    waits = FakeLeadership({space: LeadershipStatus(False, "standing by", True)})
    leader = controller(cluster, first, leadership=leads)
    standby = controller(cluster, second, leadership=waits)
    run(cluster, leader, standby, passes=1)
    until_cordoned(cluster, leader)
    second.policies = ()
    standby.run_pass()

    waits.statuses = {space: LeadershipStatus(True)}  # the leader is gone
    run(cluster, standby, passes=5)

    assert leftovers(cluster) == []


def test_a_policy_that_is_removed_while_a_replica_set_is_late_leaves_nothing_behind() -> None:
    cluster, policies = ModelCluster(6, 2), FakePolicies((four_seats(2),))
    daemon = controller(cluster, policies)
    for _ in range(60):
        if any(each.seen.cost_is_ours for each in cluster.pods):
            cluster.delay("replicasets", 4)
        run(cluster, daemon, passes=1)
        if cluster.replicas < 6:
            break
    policies.policies = ()
    daemon.run_pass()

    cluster.edit_by_hand(6)
    run(cluster, daemon, passes=20)

    assert leftovers(cluster) == []


def test_a_clock_set_forward_makes_no_cordon_older() -> None:
    cluster = ModelCluster(3, 1)
    rules = four_seats(drain={"hardDeadline": "4h"})
    daemon = controller(cluster, FakePolicies((rules,)))
    until_cordoned(cluster, daemon)
    for each in cluster.pods:
        join(each, 1)

    cluster.clock.set_by(4 * 3_600.0)
    run(cluster, daemon, passes=10)

    assert cluster.replicas == 3
    assert cluster.problems == []


class LostAnswer(ModelCluster):
    """The first scale is not answered."""

    lost = False

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        if self.lost:
            super().scale(state, replicas, dry_run=dry_run)
            return
        self.lost = True
        raise ClusterError("cannot patch deployments/scale: no answer from the Kubernetes API")


def test_until_a_lost_change_can_come_no_more_nobody_is_sent_to_a_pod_that_it_would_end() -> None:
    cluster = LostAnswer(3, 1)
    daemon = controller(cluster, FakePolicies((four_seats(),)))
    run(cluster, daemon, passes=1)
    for each in cluster.pods[:2]:
        join(each, 3)
    while not cluster.lost:
        run(cluster, daemon, passes=1)
    began = cluster.clock.now()
    for each in cluster.pods[:2]:
        join(each, 2)  # load returns

    run(cluster, daemon, passes=1)
    assert [each.seen.routable for each in cluster.pods] == [True, True, False]

    while cluster.clock.now() < began + UNSURE_FOR:
        run(cluster, daemon, passes=1)
    run(cluster, daemon, passes=1)
    assert cluster.pods[2].seen.routable


class Contended(ModelCluster):
    """The first note after a mark is refused; what was done when."""

    def __init__(self, *numbers: int) -> None:
        super().__init__(*numbers)
        self.done: list[tuple[str, float]] = []
        self.refused = False

    def mark_pod(self, state: TargetState, pod: PodState, marks: PodMarks) -> None:
        if self.done and not self.refused:
            self.refused = True
            raise ConflictError("the object has been modified")
        super().mark_pod(state, pod, marks)
        if marks.cost is not None:
            self.done.append(("mark", self.clock.now()))

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        super().scale(state, replicas, dry_run=dry_run)
        self.done.append(("scale", self.clock.now()))


def test_a_mark_has_a_pass_to_become_known_whatever_else_fails() -> None:
    cluster = Contended(4, 1)
    daemon = controller(cluster, FakePolicies((four_seats(),)))
    for _ in range(40):
        run(cluster, daemon, passes=1)
        if cluster.replicas < 4:
            break

    marks = [at for what, at in cluster.done if what == "mark"]
    scales = [at for what, at in cluster.done if what == "scale"]
    assert cluster.refused
    assert scales
    assert not set(marks) & set(scales)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"replicas": {"min": 5, "max": 20}}, id="a minimum"),
        pytest.param({"fallback": {"after": "1m", "replicas": 5}}, id="a fallback"),
    ],
)
def test_blind_too_pods_come_back_for_what_is_needed_at_least(more: dict[str, Any]) -> None:
    rules = policy(**more)
    cluster = ModelCluster(5, 1)
    daemon = controller(cluster, FakePolicies((four_seats(),)))
    until_cordoned(cluster, daemon)
    pods = tuple(replace(each.seen, sessions=None) for each in cluster.pods)
    seen = observation(pods=pods, unavailable={"sessions": "Prometheus is down"})
    state = State(seen_at=NOW - 2, blind_since=NOW - 600)

    decision, _ = decide(rules, seen, state, NOW)

    assert decision.desired == 5
    assert decision.drain is not None
    back = [each for each, marks in decision.drain.marks if marks.routable and not each.routable]
    assert len(back) == sum(not each.routable for each in pods) > 0


def _shrinking() -> ModelCluster:
    """Six pods, users on few of them."""
    cluster = ModelCluster(6, 2)
    join(cluster.pods[0], 3)
    return cluster
