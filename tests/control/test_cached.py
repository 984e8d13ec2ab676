"""What is decided by a cache, and what the target is read anew for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from autoscaler.errors import AutoscalerError, ClusterError
from autoscaler.model import PodState, TargetRef
from autoscaler.ports import TargetState
from tests.control.test_controller import APP, DASHBOARDS, DRAIN_PASSES, World
from tests.fakes import FakeCluster


@dataclass
class CachedCluster(FakeCluster):
    """What is observed was watched. age: seconds since it was confirmed. reads: consistent ones.

    frozen: what the cache says of targets of which it learns nothing more.
    """

    age: float = 1.0
    reads: int = 0
    frozen: dict[TargetRef, TargetState] = field(default_factory=dict)

    def observe(
        self, refs: Iterable[TargetRef]
    ) -> Mapping[TargetRef, TargetState | AutoscalerError]:
        found = {**super().observe(refs), **self.frozen}
        at = self.clock.at - self.age
        return {
            ref: replace(each, confirmed_at=at) if isinstance(each, TargetState) else each
            for ref, each in found.items()
        }

    def read_target(self, ref: TargetRef) -> TargetState | AutoscalerError:
        self.reads += 1
        return self._observe(ref)


@pytest.fixture
def cluster() -> CachedCluster:
    return CachedCluster()


@pytest.fixture
def world(cluster: CachedCluster) -> World:
    return World(cluster=cluster)


def test_a_scale_up_and_a_target_at_rest_need_no_read(cluster: CachedCluster, world: World) -> None:
    cluster.deploy(APP, 10, 12)

    world.run(passes=80)

    assert (cluster.replicas(APP), cluster.reads) == (3, 0)


def test_a_drain_that_waits_for_its_users_needs_no_read(
    cluster: CachedCluster, world: World
) -> None:
    cluster.deploy(APP, 2, 2)
    world.run(passes=70)
    reads = cluster.reads

    world.run(passes=70)

    assert reads > 0
    assert (cluster.replicas(APP), cluster.reads) == (2, reads)


def test_every_step_of_a_scale_down_rests_on_a_read(cluster: CachedCluster, world: World) -> None:
    cluster.deploy(APP, 5, 0)
    reads, steps = 0, []

    for _ in range(60 + DRAIN_PASSES):
        outcome = world.run().outcomes[0]
        if outcome.changed or any(not marks.routable for _, marks in outcome.marked):
            steps.append(cluster.reads > reads)
            assert outcome.target is not None
            assert outcome.target.confirmed_at is None
        reads = cluster.reads

    assert cluster.replicas(APP) == 1
    assert steps == [True] * 3, "the cordon, the mark and the scale"


def test_what_a_read_finds_counts_and_not_the_cache(cluster: CachedCluster, world: World) -> None:
    """As users came to a pod whose watch has said nothing for a moment."""
    cluster.deploy(APP, 5, 0)
    world.run(passes=59)
    assert cluster.reads == 0

    pods = cluster.targets[APP].pods
    cluster.frozen[APP] = cluster.targets[APP]
    cluster.targets[APP] = replace(cluster.targets[APP], pods=tuple(map(_bare, pods)))
    world.run(passes=5)

    assert cluster.reads > 0
    assert all(pod.routable for pod in cluster.targets[APP].pods), "none of them can be cordoned"


def _bare(pod: PodState) -> PodState:
    return replace(pod, labelled=False)


def test_a_target_that_cannot_be_read_anew_is_left_as_it_is(
    cluster: CachedCluster, world: World
) -> None:
    cluster.deploy(APP, 5, 0)
    world.run(passes=59)
    cluster.frozen[APP] = cluster.targets[APP]
    cluster.failures[APP] = ClusterError("no answer from the Kubernetes API")

    outcome = world.run(passes=5).outcomes[0]

    assert outcome.problem == "no answer from the Kubernetes API"
    assert (cluster.replicas(APP), outcome.marked) == (2, ())


def test_a_stale_cache_is_a_hold_like_others(cluster: CachedCluster, world: World) -> None:
    cluster.deploy(APP, 5, 0, 0)
    cluster.age = 60.0
    world.run(passes=70)

    [(_, reason, words)] = cluster.events
    assert reason == "StaleCache"
    assert "has not confirmed for 1m" in words
    assert world.metric("scale_downs_held_total", reason="StaleCache", **DASHBOARDS)
    assert (cluster.replicas(APP), cluster.reads) == (3, 0)
