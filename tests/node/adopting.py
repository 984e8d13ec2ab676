"""An app with users in it is adopted beside itself, on a real node, and nobody is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.deploy.pages import run_shell
from tests.lab.live_cluster import NAMESPACE
from tests.lab.processes import wait_until
from tests.lab.websocket_user import User
from tests.node.clicks import AFTERWARDS, clicking, lost
from tests.node.shipped import KUBELET_SYNC, SOON, Shipped

OLD, NEW = "dashboards", "dashboards-2"
USERS = 20
EVERY = 1.0  # seconds between two new pages


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


class Steps(NamedTuple):
    """What an operator does, in this order. give: the policy. count: of connections, a command."""

    start: str
    give: Callable[[], object]
    switch: str
    count: str
    delete: str


def adopt_beside(
    shipped: Shipped, folder: Path, guests: list[User], newcomers: Newcomers, steps: Steps
) -> None:
    """Do it, while the guests work and others come. Fails if anybody is lost or refused."""
    with clicking(shipped, guests) as clickers, newcomers.coming():
        run_shell(steps.start, folder)
        steps.give()
        run_shell(steps.switch, folder)
        wait_until(lambda: sessions(shipped) > 0, SOON, "new users on the new pods")
        time.sleep(AFTERWARDS)
        assert sum(counted(steps.count, folder)) >= USERS
    assert newcomers.refused == []
    assert shipped.all_connected([*guests, *newcomers.came])
    assert lost(shipped, clickers) == []

    for user in guests:
        shipped.users.leave(user)
    guests.clear()
    leave_old(shipped, newcomers)
    wait_until(lambda: sum(counted(steps.count, folder)) == 0, SOON, "the old pods to be empty")
    run_shell(steps.delete, folder)
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


def cleared(shipped: Shipped) -> None:
    """Nothing of it is left, nor a policy for it."""
    shipped.write_policy(OLD, None)
    for name in (OLD, NEW):
        shipped.kubectl("delete", "deployment", name, "--ignore-not-found", "--wait=false")
        shipped.kubectl("delete", "poddisruptionbudget", name, "--ignore-not-found")
    shipped.kubectl("delete", "service", OLD, "--ignore-not-found")
