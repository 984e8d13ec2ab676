"""One Deployment with users, a daemon that scales it, and proxies between it and all it asks."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from urllib.parse import urlsplit

from tests.faults.daemon_page import Page, read
from tests.lab import forked_daemons
from tests.lab.api_proxy import ApiProxy
from tests.lab.build import KUBERNETES, PROMETHEUS, installed
from tests.lab.control_plane import ControlPlane
from tests.lab.http_proxy import HttpProxy
from tests.lab.processes import free_ports, wait_until
from tests.lab.prometheus_server import PrometheusServer
from tests.lab.world import World, a_world

PODS = 3
# Sessions of each pod, so that all pods are needed; one more each needs a further pod, for some
# seats shall be free.
USUAL = 8
METRIC = {"type": "sessions", "seats": 10, "spare": 5}
WITHIN = 60.0
DECISIONS = "bokeh_autoscaler_decisions_total"
FAILURES = "bokeh_autoscaler_failures_total"
HELD = "bokeh_autoscaler_scale_downs_held_total"


@dataclass(frozen=True)
class Stage:
    """What all scenes share: the real control plane and the real Prometheus."""

    plane: ControlPlane
    prometheus: PrometheusServer
    folder: Path


@dataclass
class Scene:
    """world: the Deployment and its users. api, asked: the ways to the API server and Prometheus.

    url: of the pages of the last daemon that was started.
    """

    plane: ControlPlane
    world: World
    api: ApiProxy
    asked: HttpProxy
    daemons: list[BaseProcess] = field(default_factory=list)
    url: str = ""

    @property
    def log(self) -> Path:
        return self.world.folder / "daemon.log"

    @property
    def journal(self) -> Path:
        return self.world.folder / "journal.jsonl"

    def set_clock(self, ahead: float) -> None:
        """Set the clock of the daemon's machine. ahead: seconds by which it is."""
        (self.world.folder / "ahead").write_text(str(ahead))

    def start(self, *options: str) -> BaseProcess:
        """Start one more daemon."""
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        policies = ("--policies", str(self.world.policy_file.parent))
        listen = ("--listen", f"127.0.0.1:{port}")
        _, *words = self.world.command("run", *policies, *listen, *options)
        words += ["--prometheus-timeout", "1s", "--journal", str(self.journal)]
        ahead = self.world.folder / "ahead"
        self.daemons.append(forked_daemons.start(words, self.log, ahead))
        return self.daemons[-1]

    def users(self, *sessions: int) -> None:
        """So many sessions on each pod from now on, the oldest first; none on further pods."""
        self.world.users.per_pod = lambda n: sessions[n] if n < len(sessions) else 0

    def pods(self) -> list[str]:
        """Return the UIDs of all pods that are not being deleted, the oldest first."""
        found = self.plane.core.list_namespaced_pod(self.world.namespace).items
        found.sort(key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name))
        return [pod.metadata.uid for pod in found if not pod.metadata.deletion_timestamp]

    def page(self) -> Page:
        return read(self.url)

    def until(self, selector: str, by: float, since: Page | None = None) -> Page:
        """Wait until what is selected has grown by so much, and return the page."""
        first = (since.total(selector) if since else None) or 0.0

        def grown() -> Page | None:
            try:
                page = self.page()
            except OSError:  # it does not serve yet
                return None
            return page if (page.total(selector) or 0.0) >= first + by else None

        try:
            page = wait_until(grown, WITHIN, f"{selector} to grow by {by:g}")
        except AssertionError as error:
            raise AssertionError(f"{error}; the daemon said:\n{self.log.read_text()}") from None
        assert page is not None
        return page

    def passes(self, count: int, since: Page) -> Page:
        """Wait for so many decisions or failures."""
        return self.until("bokeh_autoscaler_pass_duration_seconds_count", count, since)

    def steady(self) -> Page:
        """Wait for decisions that change nothing, as they should be."""
        return self.until(f'{DECISIONS}{{reason="DesiredWithinRange"}}', 2)

    def says(self, words: str) -> None:
        wait_until(lambda: words in self.log.read_text(), WITHIN, f"the daemon to say: {words}")

    def event(self, reason: str) -> str:
        """Wait for the Event with this reason, and return its text."""
        return wait_until(lambda: self.world.events().get(reason), WITHIN, f"Event {reason}") or ""


@contextmanager
def a_stage(folder: Path) -> Iterator[Stage]:
    """Start both in an empty folder. Raises LookupError where they have not been built."""
    programs, prometheus = installed(KUBERNETES), installed(PROMETHEUS)
    if programs is None or prometheus is None:
        raise LookupError("NO KUBERNETES CONTROL PLANE OR NO PROMETHEUS: `make parts` builds them")
    for name in ("plane", "prometheus", "scenes"):
        (folder / name).mkdir()
    with (
        ControlPlane(programs, folder / "plane") as plane,
        PrometheusServer(prometheus / "prometheus", folder / "prometheus") as server,
    ):
        plane.node.network = "127.1"
        yield Stage(plane, server, folder / "scenes")


@contextmanager
def a_scene(stage: Stage, pods: int = PODS) -> Iterator[Scene]:
    """A namespace with some pods, whose users need all of them; no daemon yet."""
    name = f"fault-{secrets.token_hex(4)}"
    folder = stage.folder / name
    folder.mkdir()
    stage.plane.create_namespace(name)
    where = urlsplit(stage.prometheus.url)
    assert where.hostname is not None
    assert where.port is not None
    with ExitStack() as stack:
        api = stack.enter_context(ApiProxy(stage.plane))
        asked = stack.enter_context(HttpProxy(where.hostname, where.port))
        world = stack.enter_context(a_world(stage.plane, name, stage.prometheus, folder))
        world.kubeconfig = api.kubeconfig(world.kubeconfig)
        world.way_to_prometheus = f"http://{asked.host}:{asked.port}"
        scene = Scene(stage.plane, world, api, asked)
        scene.set_clock(0.0)
        scene.users(*[USUAL] * pods)
        world.write_policy(metrics=[METRIC])
        world.deploy(pods)
        stage.plane.settle(name, "bokeh-app", pods)
        try:
            yield scene
        finally:
            for daemon in scene.daemons:
                daemon.kill()
                daemon.join()
            stage.plane.delete_namespace(name)
