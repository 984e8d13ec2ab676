"""An Event and a line of the log say that a pod was held by sessions until they were released."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from autoscaler.model import Occupancy, PodState, Reason, Unavailable
from autoscaler.reporting.logs import LogRecorder
from tests.builders import policy
from tests.control.test_controller import APP, World
from tests.fakes import FakeCluster

QUICK = {"scaleDown": {"stabilizationWindowSeconds": 0}}
RELEASED = (
    " ago, was held by 2 sessions until they were released: nobody used the page, or its app lets"
    " it be closed"
)


@dataclass
class Forgotten(FakeCluster):
    """Pods whose sidecars count the sessions that they closed because nobody used them.

    counts: by name of the pod; None: its exporter is older and does not count them.
    """

    counts: dict[str, int | None] = field(default_factory=dict)

    def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy | Unavailable]:
        said = super().occupancy(pods)
        names = {pod.uid: pod.name for pod in pods}
        return {
            uid: each._replace(released=self.counts.get(names[uid], 0))
            if isinstance(each, Occupancy)
            else each
            for uid, each in said.items()
        }

    def release(self, pod: str, count: int) -> None:
        """The last users of a pod do not answer."""
        before = self.counts.get(pod, 0)
        self.counts[pod] = None if before is None else before + count
        self.sessions[APP.namespace, pod] = 0


@pytest.fixture
def cluster() -> Forgotten:
    cluster = Forgotten()
    cluster.deploy(APP, 5, 2, 2)
    return cluster


@pytest.fixture
def world(cluster: Forgotten) -> World:
    """Two pods drain, and each still has two sessions."""
    world = World(policy(behavior=QUICK), cluster=cluster)
    world.run(passes=20)
    assert cluster.replicas(APP) == 3
    return world


def told(cluster: Forgotten) -> list[str]:
    return [text for _, reason, text in cluster.events if reason == Reason.SESSIONS_RELEASED]


def test_it_is_told_once_of_each_pod_that_is_deleted_because_of_that(
    cluster: Forgotten, world: World
) -> None:
    assert told(cluster) == []
    cluster.release("pod-1", 2)
    world.run(passes=20)
    assert cluster.replicas(APP) == 2
    [words] = told(cluster)
    assert words.startswith("dashboards: pod pod-1, cordoned ")
    assert words.endswith(RELEASED)
    cluster.release("pod-2", 1)
    world.run(passes=20)
    assert cluster.replicas(APP) == 1
    assert "pod pod-2" in told(cluster)[1]
    assert "by 1 session until it was released" in told(cluster)[1]
    assert len(told(cluster)) == 2


def test_sessions_that_were_released_before_the_cordon_held_nothing(cluster: Forgotten) -> None:
    cluster.counts["pod-1"] = 7
    world = World(policy(behavior=QUICK), cluster=cluster)
    world.run(passes=20)
    cluster.sessions[APP.namespace, "pod-1"] = 0
    world.run(passes=20)
    assert cluster.replicas(APP) == 2
    assert told(cluster) == []


@pytest.mark.parametrize("released", [None, -5])
def test_nothing_is_told_of_a_pod_whose_count_is_unknown_or_began_anew(
    cluster: Forgotten, released: int | None
) -> None:
    cluster.counts["pod-1"] = None if released is None else 5
    world = World(policy(behavior=QUICK), cluster=cluster)
    world.run(passes=20)
    cluster.release("pod-1", released or 0)
    world.run(passes=20)
    assert cluster.replicas(APP) == 2
    assert told(cluster) == []


def test_the_log_says_the_same(
    cluster: Forgotten, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="autoscaler")
    logs = LogRecorder()
    cluster.release("pod-1", 2)
    for _ in range(20):
        logs.record(world.run())
    said = [line for line in caplog.messages if RELEASED in line]
    assert said == told(cluster)
    assert len(said) == 1
