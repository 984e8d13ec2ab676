"""Histories that fresh ones rarely are: without one protection each of them ends a session.

Each gives back the cluster, whose `problems` are what must not have happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autoscaler.control.controller import Controller
from autoscaler.core.drain.pods import is_draining, is_marked
from autoscaler.model import Occupancy, PodMarks, PodState, Unavailable
from autoscaler.policy import Policy
from autoscaler.ports import TargetState
from tests.drain.history import rules
from tests.drain.model_cluster import INTERVAL, KEPT_ALIVE, ROUTED_LATE, ModelCluster
from tests.drain.model_time import DaemonClock
from tests.fakes import FakePolicies

PODS, LEAST = 3, 1
WITHIN = 60  # passes
HARD_DEADLINE = 600.0


class Story:
    """A cluster under a daemon that has just started. users: one pod each, as `arrive` has it.

    ahead: the daemon's clock, of the server's.
    """

    def __init__(
        self, cluster: ModelCluster, *users: int, ahead: float = 0.0, **drain: Any
    ) -> None:
        self.cluster = cluster
        self._rules: Policy = rules(drain={"settle": "15s", **drain})
        for each in users:
            cluster.arrive(each, opens_in=1)
        self.start_daemon(ahead)

    def start_daemon(self, ahead: float = 0.0) -> None:
        """Another one, which remembers nothing. ahead: its clock, of the server's."""
        world = self.cluster
        world.clock = DaemonClock(world, ahead)
        world.start_watching()
        self._daemon = Controller(
            FakePolicies((self._rules,)), world, world, world, world.clock, leadership=world
        )

    def until(self, happened: Callable[[], bool]) -> None:
        """Pass after pass. Raises AssertionError if it does not happen."""
        for _ in range(WITHIN):
            if happened():
                return
            self.run(1)
        raise AssertionError("it did not happen")

    def run(self, passes: int) -> None:
        for _ in range(passes):
            self.cluster.interval()
            self._daemon.run_pass()

    @property
    def drains(self) -> bool:
        return any(is_draining(pod.seen) for pod in self.cluster.pods)


def a_takeover_by_a_clock_that_is_ahead() -> ModelCluster:
    """Right after the cordon; new users come for two minutes by what proxies know of it.

    A proxy in front of the API server leaves no Date in its answers.
    """
    cluster = ModelCluster(PODS, LEAST)
    cluster.routed_late, cluster.dated = KEPT_ALIVE, False
    story = Story(cluster, settle=f"{KEPT_ALIVE:g}s")
    story.until(lambda: story.drains)
    story.start_daemon(ahead=300.0)
    cluster.hasty = [0]
    story.run(WITHIN)
    return cluster


def a_user_comes_while_the_scale_is_written_down() -> ModelCluster:
    """To a pod that is marked and was empty at the beginning of the pass."""
    cluster = ModelCluster(PODS, LEAST, launcher=True)
    cluster.routed_late = KEPT_ALIVE
    cluster.early, cluster.slow["commit"] = [0], 4.0
    Story(cluster).run(WITHIN)
    return cluster


class Starved(ModelCluster):
    """The daemon's process does not run for a while, after the sidecars have answered."""

    starved = 0.0

    def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy | Unavailable]:
        said = super().occupancy(pods)
        self.advance(self.starved)
        return said

    def commit(self, namespace: str) -> None:
        super().commit(namespace)
        self.starved = 4.0
        self.later(1.0, lambda: self.arrive(0, opens_in=1.0))


def a_daemon_that_does_not_run_after_it_asked() -> ModelCluster:
    """A user comes meanwhile, after the last look at the marked pod."""
    cluster = Starved(PODS, LEAST, launcher=True)
    cluster.routed_late = KEPT_ALIVE
    Story(cluster).run(WITHIN)
    return cluster


def a_restart_before_a_scale_down_is_carried_out() -> ModelCluster:
    """The ReplicaSet's controller is late, and the next daemon finds the marked pod still there."""
    cluster = ModelCluster(PODS, LEAST)
    story = Story(cluster, 0, 1)
    cluster.delay("replicasets", WITHIN)
    story.until(lambda: cluster.replicas < PODS)
    story.start_daemon()
    story.run(WITHIN)
    cluster.delay("replicasets", 0)
    story.run(1)
    return cluster


class Relabelled(ModelCluster):
    """Somebody gives the pod its label back while our mark of it is on its way."""

    done = False

    def mark_pod(self, state: TargetState, pod: PodState, marks: PodMarks) -> None:
        if marks.cost is not None and not self.done:
            self.done = True
            self.set_label(next(each for each in self.pods if each.uid == pod.uid), "true")
            self.later(2 * INTERVAL, self._send_users)
        super().mark_pod(state, pod, marks)

    def _send_users(self) -> None:
        self.hasty = [0]


def a_label_that_comes_back_under_a_mark() -> ModelCluster:
    """New users then come for as long as after a cordon, and the cordon is as old as it was."""
    cluster = Relabelled(PODS, LEAST)
    Story(cluster, settle=f"{ROUTED_LATE:g}s").run(WITHIN)
    return cluster


def a_deadline_after_a_clock_that_was_right() -> ModelCluster:
    """The daemon that takes over right after the cordon is ahead by the whole deadline."""
    return _a_deadline(cordoned_by=0.0, taken_over_by=HARD_DEADLINE)


def a_deadline_after_a_clock_that_was_behind() -> ModelCluster:
    """The daemon that takes over is right, and the one that cordoned the pod was behind."""
    return _a_deadline(cordoned_by=-HARD_DEADLINE, taken_over_by=0.0)


def _a_deadline(*, cordoned_by: float, taken_over_by: float) -> ModelCluster:
    cluster = ModelCluster(PODS, LEAST)
    story = Story(cluster, 0, 1, ahead=cordoned_by, hardDeadline=f"{HARD_DEADLINE:g}s")
    story.until(lambda: story.drains)
    story.run(1)
    story.start_daemon(taken_over_by)
    story.run(WITHIN)
    return cluster


def a_busy_pod_that_stops_being_ready_unseen() -> ModelCluster:
    """The watch of the pods says nothing from the moment on at which another pod is marked."""
    cluster = ModelCluster(PODS, LEAST)
    cluster.watched = True
    story = Story(cluster, 0)
    story.until(lambda: any(is_marked(pod.seen) for pod in cluster.pods))
    cluster.silent = frozenset(["pods"])
    for pod, _ in cluster.users("live"):
        cluster.set_ready(pod, False)
    story.run(WITHIN)
    return cluster


# By the protection without which they go wrong, as `mutations` names it.
DIRECTED: Mapping[str, Callable[[], ModelCluster]] = {
    "settle from what is written on the pod": a_takeover_by_a_clock_that_is_ahead,
    "sidecars are not asked again": a_user_comes_while_the_scale_is_written_down,
    "old answers count": a_daemon_that_does_not_run_after_it_asked,
    "pods from the previous scale-down do not matter": a_restart_before_a_scale_down_is_carried_out,
    "the API server's time is not heard": a_deadline_after_a_clock_that_was_right,
    "nor by the daemon before": a_deadline_after_a_clock_that_was_behind,
    "what was watched is not read again": a_busy_pod_that_stops_being_ready_unseen,
    "what somebody wrote meanwhile is overwritten": a_label_that_comes_back_under_a_mark,
}
