"""`sessions_cut_total` counts what was there when a removed pod ended, not what was believed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from autoscaler.model import PodState
from autoscaler.ports import TargetState
from tests.builders import policy
from tests.control.test_controller import APP, DASHBOARDS, World
from tests.fakes import FakeCluster

QUICK = {"scaleDown": {"stabilizationWindowSeconds": 0}}
UNTIL_GONE = 14


@dataclass
class Terminating(FakeCluster):
    """Removed pods are still there for a while, as a launcher keeps them for its users.

    hasty: users that come to each draining pod at the very moment of a scale-down.
    """

    hasty: int = 0
    going: list[PodState] = field(default_factory=list)

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        for pod in state.pods:
            if pod.cordon is not None:
                self.sessions[state.ref.namespace, pod.name] += self.hasty
        before = self.targets[state.ref].pods
        super().scale(state, replicas, dry_run=dry_run)
        present = self.targets[state.ref]
        self.going = [replace(p, deleting=True) for p in before if p not in present.pods]
        self.targets[state.ref] = replace(present, pods=(*present.pods, *self.going))

    def let_go(self) -> None:
        """The API server forgets the pods that are being deleted."""
        state = self.targets[APP]
        pods = tuple(pod for pod in state.pods if not pod.deleting)
        self.targets[APP] = replace(state, pods=pods)

    def leave(self) -> None:
        """All users of the pods that are being deleted close their pages."""
        for pod in self.going:
            self.sessions[APP.namespace, pod.name] = 0

    def say_at_the_end(self, cut: int) -> None:
        """The launchers write their termination messages."""
        state = self.targets[APP]
        pods = tuple(replace(pod, cut=cut if pod.deleting else None) for pod in state.pods)
        self.targets[APP] = replace(state, pods=pods)


@pytest.fixture
def cluster() -> Terminating:
    cluster = Terminating()
    cluster.deploy(APP, 5, 0)
    return cluster


def scaled_down(cluster: Terminating, **more: object) -> World:
    world = World(policy(behavior=QUICK, **more), cluster=cluster)
    for _ in range(UNTIL_GONE):
        world.run()
        if cluster.going:
            return world
    pytest.fail("nothing was removed")


def cut(world: World) -> float | None:
    return world.metric("sessions_cut_total", **DASHBOARDS)


def test_a_session_that_came_after_the_last_look_and_was_ended_is_counted(
    cluster: Terminating,
) -> None:
    cluster.hasty = 1
    world = scaled_down(cluster)
    world.run()
    assert cut(world) == 0, "it is still there"

    cluster.let_go()
    world.run()

    assert cut(world) == 1
    why = "they began after the last look at its sidecar"
    told = ("SessionsCut", f"dashboards: a scale-down ended 1 session on pod pod-1: {why}")
    assert told in [(reason, text) for _, reason, text in cluster.events]


def test_a_session_that_came_and_left_while_the_launcher_waited_is_not(
    cluster: Terminating,
) -> None:
    cluster.hasty = 1
    world = scaled_down(cluster)
    world.run(passes=3)
    cluster.leave()
    world.run(passes=2)
    cluster.let_go()
    world.run(passes=2)

    assert cut(world) == 0


def test_the_launchers_message_has_the_last_word(cluster: Terminating) -> None:
    cluster.hasty = 3
    world = scaled_down(cluster)
    world.run(passes=2)
    cluster.say_at_the_end(2)
    world.run()
    cluster.let_go()
    world.run(passes=2)

    assert cut(world) == 2


def test_a_pod_that_is_gone_before_the_next_pass_is_counted_too() -> None:
    """Without a launcher a pod may end within a second."""

    class Hasty(FakeCluster):
        def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
            for pod in state.pods:
                if pod.cordon is not None:
                    self.sessions[state.ref.namespace, pod.name] = 1
            super().scale(state, replicas, dry_run=dry_run)

    cluster = Hasty()
    cluster.deploy(APP, 5, 0, 0)
    world = World(policy(behavior=QUICK), cluster=cluster)
    world.run(passes=UNTIL_GONE)

    assert cluster.replicas(APP) == 1
    assert cut(world) == 2


def test_the_next_daemon_counts_on(cluster: Terminating) -> None:
    cluster.hasty = 1
    first = scaled_down(cluster)
    first.run()
    text = first.controller._store.text(APP.namespace.__eq__)

    second = World(policy(behavior=QUICK), cluster=cluster)
    second.controller._store.recall(APP.namespace.__eq__, text)
    cluster.silent = {pod.name for pod in cluster.going}
    second.run(passes=2)
    cluster.let_go()
    second.run()

    assert cut(second) == 1


def test_a_pod_that_somebody_deletes_is_not_our_cut(cluster: Terminating) -> None:
    cluster.hasty = 1
    world = World(policy(), cluster=cluster)
    world.run(passes=3)
    state = cluster.targets[APP]
    cluster.targets[APP] = replace(state, pods=state.pods[1:])
    world.run(passes=3)

    assert not cut(world)


def test_an_answer_that_comes_between_two_passes_of_a_slow_policy_is_not_lost() -> None:
    """Another policy's passes take the answers in; the pod's own policy looks every minute."""
    cluster = Terminating(hasty=1)
    cluster.deploy(APP, 5, 0)
    slow = policy(behavior=QUICK, interval="20s")
    elsewhere = policy(name="x", target={"namespace": "bokeh", "deployment": "x"}, interval="5s")
    world = World(slow, elsewhere, cluster=cluster)
    while not cluster.going:
        world.run()
    world.run(passes=2)
    cluster.let_go()
    world.run(passes=6)

    assert cut(world) == 1
