"""From a label to the removal: times count from when a write took effect, whoever is late."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from autoscaler.control.controller import Controller
from autoscaler.core.drain.deletion_order import deletion_order
from autoscaler.model import Occupancy, PodMarks, PodState
from autoscaler.policy import Policy
from autoscaler.ports import TargetState
from tests.builders import policy
from tests.control.test_controller import APP
from tests.fakes import FakeClock, FakeCluster, FakePolicies

SETTLE = 15.0
RULES = policy(behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})


@dataclass
class World(FakeCluster):
    """A cluster that writes down what it did and when.

    lag: the ReplicaSet controller knows of the pods what was true so many seconds ago. slow:
    seconds that the API server takes for a patch of a pod. labelled_at: when each pod's label
    became false. removed: pods, and the seconds since then. cut: the sessions that they had.
    """

    lag: float = 0.0
    slow: float = 0.0
    labelled_at: dict[str, float] = field(default_factory=dict)
    removed: list[tuple[str, float]] = field(default_factory=list)
    cut: int = 0
    _history: list[tuple[float, tuple[PodState, ...]]] = field(default_factory=list)

    def daemon(self, rules: Policy = RULES, clock: FakeClock | None = None) -> Controller:
        return Controller(FakePolicies((rules,)), self, self, self, clock or self.clock)

    def mark_pod(self, state: TargetState, pod: PodState, marks: PodMarks) -> None:
        self.clock.advance(self.slow)
        super().mark_pod(state, pod, marks)
        if pod.routable and not marks.routable:
            self.labelled_at[pod.name] = self.clock.at

    def run(self, daemon: Controller, passes: int, interval: float = 2.0) -> None:
        for _ in range(passes):
            self.remember()
            daemon.run_pass()
            self.remember()
            self.clock.advance(interval)

    def remember(self) -> None:
        self._history.append((self.clock.at, self.targets[APP].pods))

    def _set(self, state: TargetState, replicas: int) -> None:
        """Remove pods by what the controller knows of each; it knows its ReplicaSets at once."""
        self.remember()
        now = self.clock.at
        then = [pods for at, pods in self._history if at <= now - self.lag][-1:] or [()]
        known = {pod.uid: pod for pod in then[0]}
        seen = [known.get(pod.uid, pod) for pod in state.pods]
        going = {p.uid for p in deletion_order(seen, now)[: len(seen) - replicas]}
        for pod in state.pods:
            if pod.uid in going:
                self.removed.append((pod.name, now - self.labelled_at.get(pod.name, now)))
                self.cut += self.sessions[APP.namespace, pod.name]
        kept = tuple(pod for pod in state.pods if pod.uid not in going)
        version = str(int(state.resource_version) + 1)
        self.targets[APP] = replace(
            state,
            replicas=replicas,
            status_replicas=replicas,
            pods=kept,
            resource_version=version,
        )


class Ahead(FakeClock):
    """A clock that differs from the cluster's by so many seconds."""

    def __init__(self, world: FakeCluster, seconds: float) -> None:
        super().__init__()
        self._world, self._seconds = world, seconds

    def now(self) -> float:
        return self._world.clock.at + self._seconds


def deployed(*sessions: int, lag: float = 0.0) -> World:
    world = World(lag=lag)
    world.deploy(APP, *sessions)
    world.remember()
    return world


def test_settle_runs_from_the_label_of_each_pod_however_slow_the_pass_was() -> None:
    """20 pods to cordon, and each patch takes a second."""
    world = deployed(*[0] * 22)
    daemon = world.daemon(policy(replicas={"min": 2, "max": 30}, behavior=RULES.behavior))
    world.slow = 1.0
    world.run(daemon, passes=6)
    world.slow = 0.0
    world.run(daemon, passes=40)

    assert len(world.removed) == 20
    assert min(since for _, since in world.removed) >= SETTLE


@pytest.mark.parametrize("lag", [0.5, 2.5, 9.9])
@pytest.mark.parametrize("interval", [1.0, 2.0, 5.0])
def test_a_replicaset_controller_that_is_late_removes_the_pod_that_was_chosen(
    lag: float, interval: float
) -> None:
    world = deployed(9, 9, 0, lag=lag)
    world.run(world.daemon(), passes=40, interval=interval)

    assert [name for name, _ in world.removed] == ["pod-2"]


@pytest.mark.parametrize("lag", [0.0, 9.9])
def test_a_pod_that_came_back_is_not_removed_by_the_mark_it_had(lag: float) -> None:
    """pod-2 is marked when users come; then pod-1 gets empty and goes in its place."""
    world = deployed(9, 1, 0, lag=lag)
    daemon = world.daemon()
    while world.targets[APP].pods[2].deletion_cost is None:
        world.run(daemon, passes=1)
    world.sessions[APP.namespace, "pod-2"] = 9
    world.sessions[APP.namespace, "pod-1"] = 0
    world.run(daemon, passes=40)

    assert [name for name, _ in world.removed] == ["pod-1"]
    assert world.cut == 0


@pytest.mark.parametrize("lag", [0.0, 9.9])
def test_a_pod_that_was_not_ready_a_moment_ago_is_not_removed_for_that(lag: float) -> None:
    world = deployed(9, 9, 0, lag=lag)
    daemon = world.daemon()
    for number in range(60):
        ready = number % 9 > 0  # full, and its probe fails every 18 s
        first, *others = world.targets[APP].pods
        pods = (replace(first, ready=ready), *others)
        world.targets[APP] = replace(world.targets[APP], pods=pods[: len(world.targets[APP].pods)])
        world.run(daemon, passes=1)

    assert world.cut == 0


@pytest.mark.parametrize("seconds", [-3_600.0, -20.0, 20.0, 3_600.0])
@pytest.mark.parametrize("after", [0, 3, 7, 12])
def test_a_takeover_gains_nothing_by_its_clock(seconds: float, after: int) -> None:
    world = deployed(5, 0)
    world.run(world.daemon(), passes=1 + after)
    assert world.labelled_at
    assert not world.removed
    taken_over_at = world.clock.at
    world.run(world.daemon(clock=Ahead(world, seconds)), passes=30)

    [(name, since_label)] = world.removed
    assert name == "pod-1"
    assert since_label >= SETTLE
    assert world.clock.at - taken_over_at > SETTLE, "it has seen the pod for that long itself"


class Returning(World):
    """A user is back on the pod to remove after the pass has asked, when it is asked again."""

    looked_at: Callable[[], None] = staticmethod(lambda: None)

    def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy]:
        said = super().occupancy(pods)
        if any(pod.deletion_cost is not None for pod in pods):
            self.looked_at()
        return said


def asked_again(world: Returning, change: Callable[[], None]) -> Controller:
    """A daemon that is about to scale down; between its two questions the change happens."""
    world.deploy(APP, 5, 0)
    world.remember()
    daemon = world.daemon()
    while world.targets[APP].pods[1].deletion_cost is None:
        world.run(daemon, passes=1)
    world.run(daemon, passes=5)  # the mark is seen; the next pass would scale down
    assert not world.removed
    world.asked.clear()
    world.looked_at = change
    return daemon


def test_a_user_who_comes_back_during_the_pass_keeps_the_pod() -> None:
    world = Returning()

    def come() -> None:
        world.sessions[APP.namespace, "pod-1"] = 1

    daemon = asked_again(world, come)
    result = daemon.run_pass()

    assert world.asked == ["pod-1", "pod-1"]
    assert not world.removed
    [outcome] = result.outcomes
    assert (outcome.problem, outcome.changed) == (None, False)
    assert outcome.decision is not None
    assert (outcome.decision.desired, outcome.decision.reason) == (2, "SessionsStillOpen")
    assert (
        "pod-1 (1 session) when asked again right before the scale-down" in outcome.decision.detail
    )
    world.run(daemon, passes=20)
    assert world.cut == 0


def test_a_sidecar_that_falls_silent_during_the_pass_keeps_the_pod() -> None:
    world = Returning()
    daemon = asked_again(world, lambda: world.silent.add("pod-1"))
    result = daemon.run_pass()

    assert not world.removed
    decision = result.outcomes[0].decision
    assert decision is not None
    assert "pod-1 (no answer: " in decision.detail


def test_answers_that_took_long_are_none() -> None:
    world = Returning()
    daemon = asked_again(world, lambda: world.clock.advance(2.1))
    decision = daemon.run_pass().outcomes[0].decision

    assert not world.removed
    assert decision is not None
    assert "took 2.1 s to answer" in decision.detail
    world.looked_at = lambda: None
    world.run(daemon, passes=1)
    assert [name for name, _ in world.removed] == ["pod-1"], "nothing of the attempt is left"


def test_growth_asks_nobody_again() -> None:
    world = deployed(30, 0)
    world.run(world.daemon(), passes=1)
    assert (world.replicas(APP), world.asked) == (3, [])


class Idle(Returning):
    """All users have left their tabs open, and do nothing."""

    def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy]:
        return {uid: said._replace(idle_for=900.0) for uid, said in super().occupancy(pods).items()}


MORNING = {"from": "07:00", "to": "08:05", "drain": {"deadline": "2m"}}


@pytest.mark.parametrize(
    ("window", "removed"),
    [
        pytest.param(MORNING, ["pod-1"], id="while its window is open"),
        pytest.param({**MORNING, "from": "08:05", "to": "07:00"}, [], id="not before"),
    ],
)
def test_a_pod_is_removed_after_the_deadline_of_a_window(
    window: dict[str, object], removed: list[str]
) -> None:
    world = Idle()
    world.deploy(APP, 5, 1)
    world.run(world.daemon(policy(schedule=[window], behavior=RULES.behavior)), passes=100)
    assert [name for name, _ in world.removed] == removed


def test_a_window_that_ends_during_the_pass_takes_its_deadline_along() -> None:
    world = Idle()
    world.deploy(APP, 5, 1)
    daemon = world.daemon(policy(schedule=[MORNING], behavior=RULES.behavior))
    while world.targets[APP].pods[1].deletion_cost is None:
        world.run(daemon, passes=1)
    world.run(daemon, passes=5)  # the mark is seen; the next pass would scale down
    world.asked.clear()
    world.looked_at = lambda: world.clock.advance(240.0 if len(world.asked) == 2 else 0.0)
    decision = daemon.run_pass().outcomes[0].decision

    assert not world.removed
    assert decision is not None
    assert "pod-1 (1 session) when asked again right before the scale-down" in decision.detail
