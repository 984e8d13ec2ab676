"""One Deployment with users, whose exporters are scripted, and daemons as processes beside it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from urllib3.exceptions import HTTPError

from tests.lab.access import Access, raw
from tests.lab.objects import ROUTABLE, deployment
from tests.lab.processes import free_ports, wait_until
from tests.lab.prometheus_server import PrometheusServer, series
from tests.lab.role import our_rules
from tests.lab.scripted_sidecars import ScriptedSidecars

AUTOSCALER = Path(sys.executable).with_name("autoscaler")
WITHIN = 60.0  # seconds; a takeover takes 17 where nothing else runs
# The marks of tests of a daemon in a `World`: one Prometheus, the current one, is enough for them.
REAL_WORLD = [
    pytest.mark.slow,
    pytest.mark.control_plane,
    pytest.mark.mostly_idle,
    pytest.mark.prometheus,
    pytest.mark.timeout(180),
    pytest.mark.parametrize("prometheus_program", ["current"], indirect=True),
]
AHEAD = """
import sys, time
from autoscaler.adapters.clock import SystemClock
from autoscaler.cli import main
from autoscaler.commands import connect
connect.SystemClock = lambda: SystemClock(lambda: time.time() + {})
sys.exit(main())
"""
Usage = Callable[[int, float], Mapping[str, float]]


class Users:
    """Says what the exporters of the pods would say, sessions by pod age: to Prometheus every half
    second, and at each pod's own address.
    """

    def __init__(
        self,
        access: Access,
        namespace: str,
        prometheus: PrometheusServer,
        sidecars: ScriptedSidecars,
    ) -> None:
        self._access = access
        self._namespace = namespace
        self._prometheus = prometheus
        self.sidecars = sidecars
        self.per_pod: Callable[[int], int] = lambda _: 0
        # What Prometheus is told instead, with None where it is told nothing.
        self.told: Callable[[int], int | None] | None = None
        # Whether the sidecars listen.
        self.answers = True
        # Further metrics of a pod, by name, at a time.
        self.usage: Usage = lambda *_: {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._push)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self.sidecars.stop()

    def _push(self) -> None:
        while not self._stop.wait(0.5):
            with suppress(HTTPError):  # the API server is being restarted
                self._push_once()

    def _push_once(self) -> None:
        pods = self._pods()
        now = time.time()
        samples = {
            series(
                "bokeh_sessions",
                app="/app",
                state="connected",
                quality="exact",
                namespace=self._namespace,
                pod=name,
            ): [(now, float(count))]
            for index, (name, _) in enumerate(pods)
            if (count := (self.told or self.per_pod)(index)) is not None
        }
        samples |= {
            series(metric, namespace=self._namespace, pod=name): [(now, value)]
            for index, (name, _) in enumerate(pods)
            for metric, value in self.usage(index, now).items()
        }
        for index, (_, address) in enumerate(pods):
            if address and self.answers:
                self.sidecars.say(address, self.per_pod(index))
        if samples:
            self._prometheus.push(samples)

    def _pods(self) -> list[tuple[str, str]]:
        """Name and address of each, the oldest first."""
        found = raw(self._access.core.list_namespaced_pod, self._namespace)["items"]
        found.sort(key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
        return [(pod["metadata"]["name"], pod["status"].get("podIP", "")) for pod in found]


@dataclass
class World:
    """One Deployment with users, and ways to start the daemon on it.

    lease_namespace: of its Leases; "" for the Deployment's own.
    """

    access: Access
    namespace: str
    prometheus: PrometheusServer
    kubeconfig: Path
    folder: Path
    users: Users
    running: list[subprocess.Popen[str]] = field(default_factory=list)
    url: str = ""
    log: Path = Path()
    # Where the daemons ask for metrics, if something is between them and Prometheus.
    way_to_prometheus: str = ""
    lease_namespace: str = ""

    @property
    def policy_file(self) -> Path:
        return self.folder / "policies" / "dashboards.yaml"

    def write_policy(self, **overrides: Any) -> None:
        policy = {
            "name": "dashboards",
            "target": {"namespace": self.namespace, "deployment": "bokeh-app"},
            "replicas": {"min": 1, "max": 8},
            "interval": "1s",
            "metrics": [{"type": "sessions", "seats": 10}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 3}},
            "drain": {"settle": "1s", "reconnect": "1s"},
        }
        self.policy_file.parent.mkdir(exist_ok=True)
        # In one step: a daemon that reads half of a file rejects it, and tells of that.
        part = self.policy_file.with_suffix(".part")
        part.write_text(yaml.safe_dump({**policy, **overrides}))
        part.replace(self.policy_file)

    def deploy(self, replicas: int) -> None:
        body = deployment("bokeh-app", replicas)
        self.access.apps.create_namespaced_deployment(self.namespace, body)

    def command(self, name: str, *options: str) -> list[str]:
        asked = self.way_to_prometheus or self.prometheus.url
        common = ["--prometheus-url", asked, "--scrape-interval", "2s"]
        common += ["--kubeconfig", str(self.kubeconfig)]
        common += ["--exporter-port", str(self.users.sidecars.port)]
        if name == "run":
            options = ("--lease-namespace", self.lease_namespace or self.namespace, *options)
        return [str(AUTOSCALER), name, *common, *options]

    def start(
        self,
        *options: str,
        name: str = "daemon",
        ahead: float | Path = 0.0,
        program: Sequence[str] = (),
    ) -> subprocess.Popen[str]:
        """One more daemon. name: of its log; `url` and `log` are those of the last one.

        ahead: seconds by which its machine's clock is, or a file that has them. program: how
        `autoscaler` is run, if it is not the one of this checkout.
        """
        policies = ["--policies", str(self.policy_file.parent)]
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        listen = ["--listen", f"127.0.0.1:{port}"]
        self.log = self.folder / f"{name}.log"
        ours, *arguments = self.command("run", *policies, *listen, *options)
        seconds = f"float(open({str(ahead)!r}).read())" if isinstance(ahead, Path) else ahead
        whole = [sys.executable, "-c", AHEAD.format(seconds)] if ahead else [*program] or [ours]
        with self.log.open("w") as log:
            process = subprocess.Popen([*whole, *arguments], stderr=log, text=True)
        self.running.append(process)
        return process

    def says(self, words: str) -> None:
        wait_until(lambda: words in self.log.read_text(), WITHIN, f"the daemon to say: {words}")

    def replicas(self) -> int:
        scale = self.access.apps.read_namespaced_deployment_scale("bokeh-app", self.namespace)
        return int(scale.spec.replicas)

    def reaches(self, replicas: int) -> None:
        what = f"{replicas} replicas"
        try:
            wait_until(lambda: self.replicas() == replicas, WITHIN, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the daemon said:\n{self.log.read_text()}") from None

    def cordoned(self) -> int:
        pods = self.access.core.list_namespaced_pod(self.namespace).items
        return sum(pod.metadata.labels[ROUTABLE] == "false" for pod in pods)

    def events(self) -> dict[str, str]:
        items = self.access.core.list_namespaced_event(self.namespace).items
        return {e.reason: e.message for e in items if e.source.component == "bokeh-autoscaler"}

    def metric(self, line: str) -> bool:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as answer:
            return line in answer.read().decode()


@contextmanager
def a_world(
    access: Access,
    namespace: str,
    prometheus: PrometheusServer,
    folder: Path,
    sidecars: ScriptedSidecars | None = None,
) -> Iterator[World]:
    """sidecars: those of all worlds that one daemon scales, for it asks them on one port."""
    kubeconfig = access.service_account(namespace, "daemon", our_rules())
    users = Users(access, namespace, prometheus, sidecars or ScriptedSidecars())
    world = World(access, namespace, prometheus, kubeconfig, folder, users)
    world.write_policy()
    try:
        yield world
    finally:
        for process in world.running:
            process.kill()
            process.wait()
        users.stop()
