"""What a pass in which nothing is decided must not repeat, and must not remember."""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.control.controller import Controller
from autoscaler.model import TargetRef
from autoscaler.ports import TargetState
from autoscaler.reporting.event_recorder import EventRecorder
from tests.builders import policy
from tests.fakes import FakeClock, FakeCluster, FakePolicies

APP = TargetRef("bokeh", "bokeh-app")


@dataclass
class Contended(FakeCluster):
    """Somebody else makes the daemon's first change a moment before it."""

    contended: bool = True

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        if self.contended:
            self.contended = False
            self._set(self.targets[APP], replicas)
        super().scale(state, replicas, dry_run=dry_run)


def test_a_cordon_before_a_conflict_is_told_once() -> None:
    clock = FakeClock()
    cluster = Contended(clock=clock)
    cluster.deploy(APP, 9, 2, 0)
    rules = policy(behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    recorders = (EventRecorder(cluster),)
    controller = Controller(FakePolicies((rules,)), cluster, cluster, cluster, clock, recorders)
    while not any(pod.cost_is_ours for pod in cluster.targets[APP].pods):
        clock.advance(2.0)
        controller.run_pass()
    for number in range(20):
        if number == 5:  # it is full, and cordoned in the pass that scales
            cluster.sessions["bokeh", "pod-0"] = 10
        clock.advance(2.0)
        controller.run_pass()
    assert not cluster.contended
    assert cluster.replicas(APP) == 2
    told = [words for _, reason, words in cluster.events if reason == "Cordoned"]
    assert sum("pod-0" in words for words in told) == 1


def changes_after_zero(*, every_pass: bool) -> list[tuple[TargetRef, int]]:
    """What becomes of a Deployment that had been at 0 for a long time, and gets users."""
    clock = FakeClock()
    cluster = FakeCluster(clock=clock)
    cluster.deploy(APP)
    rules = policy(behavior={"scaleUp": {"stabilizationWindowSeconds": 300}})
    controller = Controller(
        FakePolicies((rules,)), cluster, cluster, cluster, clock, every_pass=every_pass
    )
    for _ in range(400):
        controller.run_pass()
        clock.advance(2.0)
    cluster.edit_by_hand(APP, 1)
    cluster.sessions["bokeh", cluster.targets[APP].pods[0].name] = 35
    controller.run_pass()
    return cluster.changes


def test_zero_replicas_are_no_recommendation() -> None:
    assert changes_after_zero(every_pass=True) == [(APP, 4)]
    assert changes_after_zero(every_pass=False) == [(APP, 4)]
