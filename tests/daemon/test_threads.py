"""How many threads the daemon has: the same after a storm of writes, however many targets wrote."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from autoscaler.control.changes import PARALLEL_CHANGES, SLOW_CHANGES
from autoscaler.control.old_leases import AT_ONCE
from autoscaler.daemon import Daemon, Ports
from autoscaler.model import TargetRef
from autoscaler.ports import TargetState
from tests.builders import policy
from tests.fakes import FakeCluster, FakeLeases, FakePolicies

# Of those that stay between two passes, by what their names begin with.
MOST = {
    "change": PARALLEL_CHANGES,
    "slow change": SLOW_CHANGES,
    "sidecars": 2,  # of the two rounds beside the passes
    "lease": 2,  # its only shard, and the list of daemons
    "old leases": 1,
    "old lease": AT_ONCE,
}


class SlowCluster(FakeCluster):
    """A cluster that takes a moment for each write, so that writes are under way together."""

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        time.sleep(0.01)
        super().scale(state, replicas, dry_run=dry_run)


@contextmanager
def a_storm(count: int) -> Iterator[FakeCluster]:
    """A daemon that has scaled so many targets up; yields while its threads are there."""
    cluster = SlowCluster()
    refs = [TargetRef(f"team-{number % 50}", f"app-{number}") for number in range(count)]
    for number, ref in enumerate(refs):
        cluster.deploy(ref, 10, 12, uid=f"uid-{number}")
    policies = FakePolicies(
        tuple(policy(name=ref.deployment, target=ref._asdict()) for ref in refs)
    )
    ports = Ports(policies, cluster, cluster, cluster, cluster.clock, FakeLeases())
    daemon = Daemon(ports, writes_per_second=10_000)
    try:
        for _ in range(50):
            daemon.run_once()
            cluster.clock.advance(5)
            if all(cluster.replicas(ref) == 3 for ref in refs):
                break
        assert {cluster.replicas(ref) for ref in refs} == {3}
        yield cluster
    finally:
        daemon.release()


def kind_of(name: str) -> str:
    return max((kind for kind in MOST if name.startswith(kind)), key=len, default=name)


@pytest.mark.parametrize("count", [100, 1_000])
def test_a_storm_leaves_a_constant_number_of_threads(count: int) -> None:
    before = set(threading.enumerate())
    with a_storm(count):
        new = [each.name for each in threading.enumerate() if each not in before]

    found = Counter(map(kind_of, new))
    assert found["change"] > 1, "writes were under way together"
    assert found.keys() <= MOST.keys()
    assert all(number <= MOST[kind] for kind, number in found.items()), found
