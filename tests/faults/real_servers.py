"""Rows in which a real Bokeh server or its real sidecar dies: one pod with both of them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.faults.acting import same, tells
from tests.faults.daemon_page import Look, Name, Page, firing, read
from tests.faults.row import Row
from tests.faults.scene import DECISIONS, WITHIN, Scene, Stage, a_scene
from tests.lab.bokeh_servers import BIN, QUICK, Served, bokeh_serve
from tests.lab.processes import wait_until
from tests.lab.prometheus_server import series
from tests.lab.websocket_user import Users

WORKERS, SESSIONS = 2, 4
BUILD_INFO = "bokeh_exporter_build_info"


@dataclass
class Pod:
    """The pod with a server whose sidecar listens at the pod's own address.

    Prometheus is told what the sidecar's page says.
    """

    scene: Scene
    server: Served
    name: str
    address: str
    sidecar: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.start_sidecar()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._push)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.scene.world.users.sidecars.port}"

    @property
    def target(self) -> dict[str, str]:
        """The labels that Prometheus would give to what it scrapes."""
        return {"job": "apps", "instance": self.url, "pod": self.name, "namespace": self.space}

    @property
    def space(self) -> str:
        return self.scene.world.namespace

    def start_sidecar(self) -> None:
        port = str(urlsplit(self.server.url).port)
        where = urlsplit(self.url)
        command = [BIN / "bokeh-exporter", "sidecar", "--address", self.address]
        command += ["--instance", f"test-{port}", "--app-port", port, "--port", str(where.port)]
        with (self.scene.world.folder / "sidecar.log").open("ab") as log:
            self.sidecar = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self.page, WITHIN, "the sidecar")

    def page(self) -> Page | None:
        """Return what the sidecar says now; None if it says nothing."""
        with suppress(OSError):
            return read(self.url)
        return None

    def workers(self) -> list[int]:
        return [worker["pid"] for worker in self.server.state()["workers"]]

    def _push(self) -> None:
        while not self._stop.wait(0.5):
            if page := self.page():
                own = {"namespace": self.space, "pod": self.name}
                self.scene.world.prometheus.push(
                    {
                        series(each.metric, **{**dict(each.labels), **own}): [(page.at, value)]
                        for each, value in page.values.items()
                        if each.metric.startswith("bokeh_")
                    }
                )

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self.sidecar.kill()
        self.sidecar.wait()


@contextmanager
def a_pod(scene: Scene) -> Iterator[Pod]:
    """One pod, with sessions on both workers of its server."""
    scene.world.users.told, scene.world.users.answers = (lambda _: None), False
    scene.world.users.sidecars.refuse()
    [found] = scene.plane.core.list_namespaced_pod(scene.world.namespace).items
    with ExitStack() as stack:
        options = ("--num-procs", str(WORKERS), *QUICK)
        server = stack.enter_context(bokeh_serve(scene.world.folder, *options))
        server.wait_workers(WORKERS)
        users = stack.enter_context(Users())
        for _ in range(SESSIONS):
            users.join(server.url)
        pod = Pod(scene, server, found.metadata.name, found.status.pod_ip)
        stack.callback(pod.stop)
        yield pod


def sidecar_killed(stage: Stage, row: Row) -> None:
    """Play the row. Fails unless each cell is true."""
    with a_scene(stage, pods=1) as scene, a_pod(scene) as pod:
        scene.start()
        quiet = scene.steady()
        last = pod.page()
        assert last is not None
        pod.sidecar.kill()
        pod.sidecar.wait()

        scene.until(f'{DECISIONS}{{reason="{row.reason}"}}', 3, quiet)
        scene.until(row.metric.series, 1)
        tells(scene, row)
        same(scene.world.replicas(), 1, "replicas")
        page = scene.page()
        same(row.metric.holds(None, page.total(row.metric.series)), True, row.metric.series)
        build = {name: value for name, value in last.values.items() if name.metric == BUILD_INFO}
        gone = Page(page.at, {Name("up", ()): 0.0, **build})
        after = scene.passes(2, page)
        later = gone._replace(at=after.at)
        looks = Look(quiet, page, after), Look(gone, gone, later, pod.target)
        same(firing(stage.prometheus, *looks), {*row.alerts}, "alerts")

        pod.start_sidecar()
        scene.until(f'{DECISIONS}{{reason="DesiredWithinRange"}}', 2, scene.page())
        scene.says("all sidecars can be reached again")


def workers_killed(stage: Stage, row: Row) -> None:
    """Play the row. Fails unless each cell is true."""
    with a_scene(stage, pods=1) as scene, a_pod(scene) as pod:
        scene.start()
        quiet = scene.steady()
        before = pod.page()
        assert before is not None
        same(before.total('bokeh_sessions{state="connected"}'), SESSIONS, "sessions")
        first = pod.workers()
        os.kill(first[0], signal.SIGKILL)

        def lost() -> Page | None:
            page = pod.page()
            told = page.total(row.metric.series) if page else None
            return page if row.metric.holds(0.0, told) else None

        after = wait_until(lost, WITHIN, f"{row.metric.series} to grow")
        assert after is not None
        left = SESSIONS - (after.total(row.metric.series) or 0)
        kept = 'bokeh_sessions{state="connected"}'
        wait_until(lambda: (p := pod.page()) and p.total(kept) == left, WITHIN, "the others")
        page = scene.until(f'{DECISIONS}{{reason="{row.reason}"}}', 3, scene.page())
        same(scene.world.replicas(), 1, "replicas")
        tells(scene, row)
        looks = Look(quiet, quiet, page), Look(before, before, after, pod.target)
        same(firing(stage.prometheus, *looks), {*row.alerts}, "alerts")

        pod.server.wait_workers(WORKERS)
        same(len({*pod.workers()} - {*first}), 1, "new workers")
