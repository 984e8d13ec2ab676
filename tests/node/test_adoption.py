"""An app with users in it is adopted as its page says, word by word, on a real node."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.pages import ADOPT_PAGE, blocks, files, run_shell
from tests.lab.live_cluster import NAMESPACE
from tests.lab.objects import ROUTABLE
from tests.lab.processes import wait_until
from tests.lab.websocket_user import User
from tests.node.clicks import AFTERWARDS, clicking, lost
from tests.node.shipped import KUBELET_SYNC, SOON, Shipped

pytestmark = [pytest.mark.slow, pytest.mark.node, pytest.mark.timeout(700)]

OLD, NEW = "dashboards", "dashboards-2"
BESIDE, IN_PLACE = "A second Deployment beside it", "In place"
IMAGES = {"dashboards": "localhost/bokeh-example", "bokeh-exporter": "localhost/bokeh-exporter"}
USERS = 20
EVERY = 1.0  # seconds between two new pages


@pytest.fixture
def folder(shipped: Shipped, tmp_path: Path) -> Iterator[Path]:
    """The files of the page, with images that this node has; nothing of them runs yet."""
    if not shipped.ours:
        pytest.skip("NO WAY TO LOAD IMAGES into a cluster that is not ours")
    for name, text in files(ADOPT_PAGE).items():
        (tmp_path / name).write_text(with_local_images(text))
    yield tmp_path
    shipped.write_policy(OLD, None)
    for name in (OLD, NEW):
        shipped.kubectl("delete", "deployment", name, "--ignore-not-found", "--wait=false")
    shipped.kubectl("delete", "service", OLD, "--ignore-not-found")


def with_local_images(text: str) -> str:
    for printed, ours in IMAGES.items():
        text = re.sub(rf"registry\.example\.com/{printed}:[\d.]+", f"{ours}:test", text)
    return text


@pytest.fixture
def guests(shipped: Shipped, folder: Path) -> Iterator[list[User]]:
    """Users of three stock pods: no launcher, no sidecar, no label."""
    run_shell("kubectl apply -f dashboards.yaml", folder)
    shipped.rolled_out(OLD)
    shipped.await_listening(OLD)
    present = shipped.join(USERS, OLD)
    yield present
    for user in present:
        shipped.users.leave(user)


class Newcomers:
    """Somebody opens the page every second. refused: the seconds and errors of those who could
    not."""

    def __init__(self, shipped: Shipped) -> None:
        self._shipped = shipped
        self.came: list[User] = []
        self.refused: list[str] = []

    @contextmanager
    def coming(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self._come, args=(stop,), name="newcomers")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _come(self, stop: threading.Event) -> None:
        began = time.monotonic()
        while not stop.wait(EVERY):
            try:
                self.came += self._shipped.join(1, OLD)
            except Exception as error:
                self.refused.append(f"{time.monotonic() - began:.1f} s: {error!r}")

    def leave(self) -> None:
        for user in self.came:
            self._shipped.users.leave(user)
        self.came = []


@pytest.fixture
def newcomers(shipped: Shipped) -> Iterator[Newcomers]:
    newcomers = Newcomers(shipped)
    yield newcomers
    newcomers.leave()


def test_a_second_deployment_loses_nobody(
    shipped: Shipped, folder: Path, guests: list[User], newcomers: Newcomers
) -> None:
    start, switch, let_scale, count, delete = blocks(ADOPT_PAGE, "sh", BESIDE)

    with clicking(shipped, guests) as clickers, newcomers.coming():
        run_shell(start, folder)
        run_shell(switch, folder)
        shipped.write_policy(OLD, files(ADOPT_PAGE)["dashboards-policy.yaml"])
        run_shell(let_scale, folder)
        wait_until(lambda: sessions(shipped) > 0, SOON, "new users on the new pods")
        time.sleep(AFTERWARDS)
        assert sum(counted(count, folder)) >= USERS
    assert newcomers.refused == []
    assert shipped.all_connected([*guests, *newcomers.came])
    assert lost(shipped, clickers) == []

    for user in guests:
        shipped.users.leave(user)
    guests.clear()
    leave_old(shipped, newcomers)
    wait_until(lambda: sum(counted(count, folder)) == 0, SOON, "the old pods to be empty")
    run_shell(delete, folder)
    wait_until(lambda: decided(shipped, NEW), KUBELET_SYNC + SOON, "a decision of the daemon")
    assert shipped.all_connected(newcomers.came)
    assert newcomers.came, "of the new pods"
    assert shipped.replicas(NEW) >= 3


def sessions(shipped: Shipped) -> int:
    """Users of the new pods, by the word of their sidecars."""
    states = [shipped.state(pod) for pod in labelled(shipped, NEW)]
    return sum(state["sessions"]["connected"] for state in states if state)


def labelled(shipped: Shipped, app: str) -> list[Any]:
    """The pods of the page's Deployments, which have a label of their own."""
    found = shipped.cluster.core.list_namespaced_pod(NAMESPACE, label_selector=f"app={app}")
    return list(found.items)


def counted(command: str, folder: Path) -> list[int]:
    """Connections to each old pod, by the page's command."""
    return [int(line) for line in run_shell(command, folder).split()]


def leave_old(shipped: Shipped, newcomers: Newcomers) -> None:
    """Those who came before the switch leave too: who is on a new pod stays."""
    titles = {pod.metadata.name for pod in labelled(shipped, NEW)}
    assert titles
    there = sessions(shipped)
    early = newcomers.came[: len(newcomers.came) - there]
    for user in early:
        shipped.users.leave(user)
    newcomers.came = newcomers.came[len(early) :]


def decided(shipped: Shipped, deployment: str) -> float | None:
    query = f'max(bokeh_autoscaler_policy_desired_replicas{{deployment="{deployment}"}})'
    return shipped.prometheus(query)


def test_in_place_the_rollout_is_the_whole_price(
    shipped: Shipped, folder: Path, guests: list[User], newcomers: Newcomers
) -> None:
    """The users who are there when the pods are rolled are lost, as the page says; nobody else."""
    replicas, _server_side, roll, selector = blocks(ADOPT_PAGE, "sh", IN_PLACE)

    assert run_shell(replicas, folder).endswith("3")
    time.sleep(AFTERWARDS)
    assert shipped.all_connected(guests)
    assert len(labelled(shipped, OLD)) == 3

    add_what_is_marked(folder)
    run_shell(roll, folder)
    wait_until(lambda: not any(map(shipped.users.is_connected, guests)), SOON, "the price")
    with newcomers.coming():
        time.sleep(AFTERWARDS)
        run_shell(selector, folder)
        time.sleep(AFTERWARDS)
    assert newcomers.refused == []
    assert shipped.all_connected(newcomers.came)
    assert shipped.replicas(OLD) == 3
    assert all(ROUTABLE in pod.metadata.labels for pod in labelled(shipped, OLD))


def add_what_is_marked(folder: Path) -> None:
    """As the page tells: what is new in the second Deployment, with the name and selector of the
    first."""
    second: Any = yaml.safe_load((folder / "dashboards-2.yaml").read_text())
    first, service = yaml.safe_load_all((folder / "dashboards.yaml").read_text())
    second["metadata"], second["spec"]["selector"] = first["metadata"], first["spec"]["selector"]
    second["spec"]["template"]["metadata"]["labels"]["app"] = OLD
    (folder / "dashboards.yaml").write_text(yaml.safe_dump_all([second, service]))
