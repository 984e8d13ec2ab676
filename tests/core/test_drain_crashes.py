"""The daemon may die, or a write fail, between any two API calls: another daemon ends it cleanly.

Not by chance as in test_drain_laws, but at every single write of one story.
"""

from __future__ import annotations

import pytest

from autoscaler.control.controller import Controller
from autoscaler.core.lease import LONGEST_WRITE
from autoscaler.policy import Policy
from tests.builders import policy
from tests.drain.model_cluster import Crash, Fault, ModelCluster
from tests.fakes import FakePolicies

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

LEAST, PODS, SEATS = 2, 6, 4
RULES: Policy = policy(
    replicas={"min": LEAST, "max": PODS},
    metrics=[{"type": "sessions", "seats": SEATS}],
    behavior={"scaleDown": {"stabilizationWindowSeconds": 10}},
)


class Story:
    """Many users, few, many again, three, none. late_for: passes in which no ReplicaSet acts."""

    def __init__(self, fault: Fault | None = None, late_for: int = 0) -> None:
        self.cluster = ModelCluster(PODS, LEAST)
        self.cluster.fault = fault
        self._late_for = late_for
        self._start_daemon()
        for user in range(3 * PODS):
            self.cluster.arrive(user, opens_in=4)
        self._run(3)
        self._leave(but=4)
        self._run(16)
        for user in range(2 * SEATS):
            self.cluster.arrive(user, opens_in=4)
        self._run(10)
        self._leave(but=3)
        self._run(25)
        self._leave(but=0)
        self._run(25 + 2 * late_for)

    def _start_daemon(self) -> None:
        world = self.cluster
        self._daemon = Controller(FakePolicies((RULES,)), world, world, world, world.clock)

    def _leave(self, but: int) -> None:
        for pod, session in self.cluster.users("live")[but:]:
            pod.users.leave(session, self.cluster.time)

    def _run(self, passes: int) -> None:
        for _ in range(passes):
            self.cluster.interval()
            waited = self.cluster.fault
            try:
                self._daemon.run_pass()
            except Crash:
                self._start_daemon()
            if waited is not None and self.cluster.fault is None:
                self.cluster.delay("replicasets", self._late_for)

    @property
    def wrong(self) -> list[str]:
        carried = [f"{pod.seen.name}: {pod.leftovers()}" for pod in self.cluster.pods]
        left = [line for line in carried if not line.endswith("[]")]
        number = [] if self.cluster.replicas == LEAST else [f"{self.cluster.replicas} replicas"]
        return self.cluster.problems + left + number


WRITES = Story().cluster.writes


def test_there_is_a_story() -> None:
    assert not Story().wrong
    assert WRITES > 25


@pytest.mark.parametrize("late_for", [0, 12], ids=["at once", "late"])
@pytest.mark.parametrize(
    ("effect", "crash"),
    [(0.0, True), (None, True), (0.0, False), (LONGEST_WRITE, False)],
    ids=["dies right after", "dies right before", "is told of a failure that is none", "and late"],
)
def test_at_any_write(effect: float | None, crash: bool, late_for: int) -> None:
    """late_for: how many passes the ReplicaSet's controller takes from then on to act."""
    told = {
        write: wrong
        for write in range(WRITES)
        if (wrong := Story(Fault("any", write, effect, crash), late_for).wrong)
    }
    assert not told
