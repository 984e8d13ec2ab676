"""The daemon dies by SIGKILL as soon as the API server has carried out a write, of each kind once.

So its answer never arrives, and whatever the daemon was about to do next is not done.
"""

from __future__ import annotations

import json
from multiprocessing.process import BaseProcess
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.faults.acting import RECOVERS, same, tells, users_come, users_leave
from tests.faults.daemon_page import firing
from tests.faults.row import Row
from tests.faults.scene import PODS, WITHIN, Scene, Stage, a_scene
from tests.lab.http_proxy import WRITES, Request
from tests.lab.processes import wait_until

LEASE = "bokeh-autoscaler"
SCALE = "the scale is changed"
KINDS = {
    "a Lease is made",
    "a Lease is written",
    "a pod is protected",
    "a pod is cordoned",
    "a pod is marked",
    SCALE,
    "an Event is made",
}


def kind_of(request: Request) -> str:
    """Return what a request writes; "" if it writes nothing."""
    if request.verb not in WRITES:
        return ""
    if "/leases" in request.path:
        return "a Lease is made" if request.verb == "post" else "a Lease is written"
    if request.path.endswith("/scale"):
        return SCALE
    if request.path.endswith("/events"):
        return "an Event is made"
    if b'routable": "false"' in request.body or b'routable":"false"' in request.body:
        is_marked = b"pod-deletion-cost" in request.body
        return "a pod is marked" if is_marked else "a pod is cordoned"
    return "a pod is protected"


def replicas_in(request: Request) -> int:
    """Return the count in a change of the scale."""
    return int(json.loads(request.body)["spec"]["replicas"])


class Killer:
    """Kills the daemon after the first write of each kind, and starts the next one."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.killed_after: list[str] = []
        scene.api.passes = self.passes

    def passes(self, request: Request) -> bool:
        """Whether the daemon learns of the answer."""
        kind = kind_of(request)
        if not kind or kind in self.killed_after:
            return True
        self.killed_after.append(kind)
        self.daemon.kill()
        return False

    @property
    def daemon(self) -> BaseProcess:
        return self.scene.daemons[-1]

    def revive(self) -> None:
        """Start the next daemon if this one is dead. The Lease need not be waited for."""
        if self.daemon.is_alive():
            return
        coordination: Any = client.CoordinationV1Api(self.scene.plane.api)
        given_back = {"spec": {"holderIdentity": ""}}
        try:
            coordination.patch_namespaced_lease(LEASE, self.scene.world.namespace, given_back)
        except ApiException as error:
            same(error.status, 404, "the Lease")
        self.scene.start()

    def reaches(self, replicas: int) -> None:
        def there() -> bool:
            self.revive()
            return self.scene.world.replicas() == replicas

        wait_until(there, 2 * WITHIN, f"{replicas} replicas after {self.killed_after}")


def play(stage: Stage, row: Row) -> None:
    """Play the row. Fails unless each cell is true."""
    with a_scene(stage) as scene:
        oldest = scene.pods()[0]
        killer = Killer(scene)
        scene.start()
        users_come(scene)
        killer.reaches(PODS + 1)
        users_leave(scene)
        killer.reaches(1)
        wait_until(lambda: killer.revive() or scene.pods() == [oldest], WITHIN, "one pod")
        wait_until(lambda: killer.revive() or {*killer.killed_after} == KINDS, WITHIN, "all kinds")

        tells(scene, row)
        RECOVERS[row.recovers](scene)
        page = scene.page()
        same(row.metric.holds(None, page.total(row.metric.series)), True, row.metric.series)
        asked = [replicas_in(each) for each in scene.api.requests if kind_of(each) == SCALE]
        same(asked[:1] + asked[-1:], [PODS + 1, 1], "first and last change of the scale")
        same(asked, sorted(set(asked), reverse=True), "changes of the scale")
        same("Traceback" in scene.log.read_text(), False, "a traceback in the log")
    same(firing(stage.prometheus), {*row.alerts}, "alerts while no daemon answers")
