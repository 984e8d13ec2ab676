"""Whatever is replaced, users go on clicking: the app, the sidecar, the daemon, the node."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.lab.processes import Processes, wait_until
from tests.lab.real_node import IMAGES
from tests.lab.websocket_user import User
from tests.lab.worker_node import WorkerNode
from tests.node.clicks import AFTERWARDS, clicking, lost
from tests.node.shipped import APP, DAEMON, NAME_LABEL, SOON, Shipped, policy

pytestmark = [pytest.mark.slow, pytest.mark.node, pytest.mark.timeout(600)]

USERS = 40
EXPORTER = "bokeh-exporter"


@pytest.fixture
def guests(shipped: Shipped) -> Iterator[list[User]]:
    shipped.write_policy("bokeh-app", policy())
    shipped.await_ready(2)
    present = shipped.join(USERS)
    yield present
    for user in present:
        shipped.users.leave(user)


def test_a_rolling_update_of_app_and_exporter_loses_no_session_and_no_click(
    shipped: Shipped, guests: list[User]
) -> None:
    before = {pod.metadata.uid for pod in shipped.pods()}

    with clicking(shipped, guests) as clickers:
        shipped.upgrade(APP, "exporter", EXPORTER)
        shipped.rolled_out(APP)
        assert not before & {pod.metadata.uid for pod in shipped.pods()}
        time.sleep(AFTERWARDS)

    assert min(each.clicks for each in clickers) > 0
    assert shipped.all_connected(guests)
    assert lost(shipped, clickers) == []


@pytest.fixture
def second_node(shipped: Shipped, tmp_path: Path) -> Iterator[None]:
    """A node beside the first one, as long as the test."""
    if not shipped.ours:
        pytest.skip("NO SECOND NODE in a cluster that is not ours")
    cluster = shipped.cluster.admin.parent
    with Processes(tmp_path) as processes:
        node = WorkerNode(2, cluster, cluster.name, processes)
        node.start_containerd()
        for archive in (cluster / IMAGES).read_text().splitlines():
            node.import_image(Path(archive))
        shipped.tag_image(f"localhost/{EXPORTER}:test", f"localhost/{EXPORTER}:next", node.name)
        node.start_kubelet()
        wait_until(lambda: node_is_ready(shipped), SOON, "the second node")
        yield
        shipped.kubectl("uncordon", "node-1")
        shipped.kubectl("cordon", "node-2")
        shipped.kubectl("delete", "pods", "--field-selector", "spec.nodeName=node-2")
    shipped.kubectl("delete", "node", "node-2")


def node_is_ready(shipped: Shipped) -> bool:
    nodes = shipped.cluster.core.list_node().items
    return any(
        each.type == "Ready" and each.status == "True"
        for node in nodes
        if node.metadata.name == "node-2"
        for each in node.status.conditions or ()
    )


@pytest.mark.usefixtures("second_node")
def test_a_drained_node_loses_no_session_and_no_click(shipped: Shipped, guests: list[User]) -> None:
    ours = ["--pod-selector", f"{NAME_LABEL}={APP}", "--delete-emptydir-data", "--force"]

    def moved() -> bool:
        return all(pod.spec.node_name == "node-2" for pod in shipped.ready_pods())

    with draining("node-1", *ours) as drain:
        with clicking(shipped, guests) as clickers:
            wait_until(moved, 2 * SOON, "all pods to be on the other node")
            shipped.await_ready(shipped.replicas())
            time.sleep(AFTERWARDS)
            assert drain.poll() is None, "it waits for the users"
        assert shipped.all_connected(guests)
        assert lost(shipped, clickers) == []

        for user in guests:
            shipped.users.leave(user)
        guests.clear()
        try:
            assert drain.wait(2 * SOON) == 0
        except subprocess.TimeoutExpired:
            pytest.fail(f"the node is not empty:\n{shipped.told_of_terminating_pods()}")


@contextmanager
def draining(node: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`kubectl drain`, which waits until the evicted pods have ended."""
    process = subprocess.Popen(["kubectl", "drain", node, *options])
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def test_an_upgrade_of_the_daemon_loses_no_session_and_no_click(
    shipped: Shipped, guests: list[User]
) -> None:
    shipped.await_replicas(3)
    grown, holder = shipped.last_scale_up(), shipped.lease().spec.holder_identity

    def is_renewed_by_another() -> bool:
        spec = shipped.lease().spec
        renewed = spec.renew_time > spec.acquire_time + timedelta(seconds=1)
        return renewed and spec.holder_identity not in (None, "", holder)

    with clicking(shipped, guests) as clickers:
        shipped.upgrade(DAEMON, "autoscaler", DAEMON)
        shipped.rolled_out(DAEMON)
    wait_until(is_renewed_by_another, SOON, "the new daemon to act")

    assert shipped.last_scale_up() == grown, "its cooldown would begin then"
    assert lost(shipped, clickers) == []
    guests += shipped.join(20)
    wait_until(lambda: shipped.replicas() >= 4, SOON, "the new daemon to go on")
