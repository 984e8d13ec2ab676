"""Everything that a dashboard shows, really running: servers, users, the daemon, a Prometheus.

Three pods of one app: two are the daemon's, which empties and removes one of them; the third has
users who do what users do, and more. Its container has a memory limit and a CPU limit, which this
machine may not be able to give, so a fourth one says such things by a played agent.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from tornado.httpclient import HTTPClientError

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.policies.files import PolicyFiles
from autoscaler.daemon import Daemon, Ports
from autoscaler.demo.local_cluster import LocalCluster
from autoscaler.model import TargetRef
from exporter.observe import PodObserver
from exporter.sidecar import server as sidecar
from tests.deploy.manifests import FOLDER
from tests.deploy.monitoring import RULES
from tests.exporter.agents import Agent, answer, app
from tests.lab.bokeh_servers import APP, PATIENCE, QUICK, Served, bokeh_serve
from tests.lab.processes import free_ports, wait_until
from tests.lab.prometheus_server import PrometheusServer
from tests.lab.websocket_user import User, Users, token_in

APPS, DAEMON = TargetRef("bokeh", "my-app"), TargetRef("system", "bokeh-autoscaler")
SETTINGS = FOLDER / "components" / "prometheus" / "prometheus.yml"
POLICY = {
    "name": "my-app",
    "target": {"namespace": APPS.namespace, "deployment": APPS.deployment},
    "replicas": {"min": 1, "max": 3},
    "interval": "1s",
    "metrics": [{"type": "sessions", "seats": 5}],
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
    "cooldown": {"down": "0s"},
    # Long enough for Prometheus to see that no drain has ended yet.
    "drain": {"settle": "6s", "reconnect": "0s"},
}


def scrape_target(ref: TargetRef, address: str, port_name: str, number: int) -> dict[str, Any]:
    """What Kubernetes would tell Prometheus of a pod's port."""
    labels = {
        "__meta_kubernetes_namespace": ref.namespace,
        "__meta_kubernetes_pod_name": f"{ref.deployment}-6f7d9c-{number:05}",
        "__meta_kubernetes_pod_label_app_kubernetes_io_name": ref.deployment,
        "__meta_kubernetes_pod_container_port_name": port_name,
    }
    return {"targets": [address], "labels": labels}


def configuration(targets: list[dict[str, Any]]) -> dict[str, Any]:
    """Our own prometheus.yml, quicker, and with targets in place of Kubernetes."""
    settings: dict[str, Any] = yaml.safe_load(SETTINGS.read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["rule_files"] = [str(RULES)]
    del settings["scrape_config_files"]  # there are none, and Prometheus 2.42 has no such setting
    for job in settings["scrape_configs"]:
        del job["kubernetes_sd_configs"]
        job.pop("scrape_interval", None)
        job["static_configs"] = targets
    return settings


class PlayedPod:
    """A pod whose container has limits: what its agent says, behind a real exporter's pages."""

    def __init__(self) -> None:
        instance = f"played-{secrets.token_hex(4)}"
        self._periods = 100
        self._agent = Agent(instance, 0, self._report())
        self._pages = sidecar(PodObserver(instance, 1), "127.0.0.1", 0)
        self._pages.start()
        self.address = f"127.0.0.1:{self._pages.port}"

    def tick(self) -> None:
        """Let its counters grow."""
        self._periods += 10
        self._agent.values = self._report()

    def _report(self) -> dict[str, Any]:
        cgroup = {
            "key": "1:1",
            "memory_bytes": 300 << 20,
            "working_set_bytes": 200 << 20,
            "limit_bytes": 384 << 20,
            "oom_kills": 0,
            "cpu_seconds": self._periods / 10,
            "throttled_seconds": self._periods / 100,
            "throttled_periods": self._periods // 10,
            "periods": self._periods,
        }
        return answer(cgroup=cgroup, apps={"/app": app(connected=1, live=1)})

    def stop(self) -> None:
        self._pages.close()
        self._agent.die()


@dataclass
class World:
    """The Prometheus servers that see it all, and `live`, to be called while waiting for them."""

    prometheus: Mapping[str, PrometheusServer]
    server: Served
    users: Users
    stays: User
    played: PlayedPod

    def live(self) -> None:
        """A user comes, clicks, and leaves; some things go wrong."""
        self.played.tick()
        self.users.say(self.stays, "sleep", 0.01)
        self.users.say(self.stays, "sleep", "no number")
        self.users.leave(self.users.join(self.server.url))
        self.users.get(self.server.url, fail="yes")
        with suppress(HTTPClientError):
            page = self.users.get(self.server.url)
            self.users.connect(self.server.url, token_in(page), origin="http://elsewhere.example")


@contextmanager
def world(folder: Path, programs: Mapping[str, Path]) -> Iterator[World]:
    """Start it all. programs: Prometheus by name; each sees the same."""
    (daemon_port,) = free_ports(1)
    (folder / "app.py").write_text(APP)
    with ExitStack() as stack:
        played = PlayedPod()
        stack.callback(played.stop)
        cluster = LocalCluster(APPS, folder / "app.py", SystemClock(), folder)
        stack.callback(cluster.stop)
        cluster.start(2)
        server = stack.enter_context(bokeh_serve(folder, *QUICK))
        sidecars = [*(r.sidecar_port for r in cluster.replicas), urlsplit(server.sidecar_url).port]
        addresses = [*(f"127.0.0.1:{port}" for port in sidecars), played.address]
        targets = [
            *(scrape_target(APPS, each, "bokeh-metrics", n) for n, each in enumerate(addresses)),
            scrape_target(DAEMON, f"127.0.0.1:{daemon_port}", "metrics", 0),
        ]
        prometheus = {
            name: stack.enter_context(_prometheus(program, folder / name, targets))
            for name, program in programs.items()
        }
        users = stack.enter_context(Users())
        stays = wait_until(lambda: users.try_join(server.url), PATIENCE, "the server")
        _seat_a_user(cluster, users)
        stack.enter_context(_daemon(cluster, folder, daemon_port))
        yield World(prometheus, server, users, stays, played)


def _seat_a_user(cluster: LocalCluster, users: Users) -> None:
    """On the first replica, so that the second is the one to go."""

    def all_ready() -> bool:
        cluster.refresh()
        return all(replica.ready for replica in cluster.replicas)

    wait_until(all_ready, PATIENCE, "the daemon's replicas")
    users.join(f"http://127.0.0.1:{cluster.replicas[0].port}/app")


def _prometheus(program: Path, folder: Path, targets: list[dict[str, Any]]) -> PrometheusServer:
    folder.mkdir()
    return PrometheusServer(program, folder, configuration=configuration(targets))


@contextmanager
def _daemon(cluster: LocalCluster, folder: Path, port: int) -> Iterator[None]:
    """The daemon with its policy, and with a broken policy file beside it."""
    policies = folder / "policies"
    policies.mkdir()
    (policies / "my-app.yaml").write_text(yaml.safe_dump(POLICY))
    (policies / "broken.yaml").write_text("name: broken\n")
    source = PolicyFiles([policies])
    ports = Ports(source, cluster, cluster, cluster, SystemClock())
    daemon = Daemon(ports, listen=("127.0.0.1", port))
    daemon.telemetry.show_price(0.12)
    thread = threading.Thread(target=daemon.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        daemon.stop()
        thread.join(PATIENCE)
