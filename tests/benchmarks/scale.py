"""`python -m tests.benchmarks.scale [N ...]`: what the daemon costs with N Deployments at rest.

Each has 10 pods with five users each, and a policy. A real API server, the real controllers and a
real Prometheus; a scripted node says that the pods run, and a scripted sidecar answers for all of
them. With PYTHONPATH=FOLDER another version of the daemon is measured, as that in another worktree.
The goals for 1,000 are printed with it, each as met or missed; on a busy machine times are longer,
and CPU seconds little.
"""

from __future__ import annotations

import argparse
import os
import re
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import mean, median, quantiles
from typing import NamedTuple

import yaml

from autoscaler.adapters.kubernetes.pods import PROTECTED
from tests.benchmarks.figure import Figure, cpu_seconds, resident_megabytes
from tests.lab.access import raw
from tests.lab.build import KUBERNETES, PROMETHEUS, installed
from tests.lab.control_plane import ControlPlane
from tests.lab.objects import deployment
from tests.lab.processes import free_ports, wait_until
from tests.lab.prometheus_server import PrometheusServer, series
from tests.lab.scripted_sidecars import ScriptedSidecars

PODS, USERS, SCRAPE_INTERVAL = 10, 5, 5.0
PASSES = 30
MOST_THREADS = 34  # as docs/decisions/0005 counts them, with one shard
AT_ONCE = 50  # Deployments that are made at once
NAMESPACE = "bench"
READ = "deployments|replicasets|pods|horizontalpodautoscalers"
REQUESTS = re.compile(
    rf'apiserver_request_total\{{[^}}]*resource="(?:{READ})"[^}}]*verb="(\w+)"[^}}]*\}} (\d+)'
)
QUERIES = re.compile(
    r'prometheus_http_requests_total\{[^}]*handler="/api/v1/query"[^}]*\} ([0-9.e+]+)'
)
# The daemon, with the seconds that each of its passes takes as lines of a file.
TIMED = """
import sys, time
from pathlib import Path
file = Path(sys.argv.pop(1)).open("a", buffering=1)
from autoscaler.cli import main
from autoscaler.control.controller import Controller
run_pass = Controller.run_pass
def timed(self):
    began = time.monotonic()
    try:
        return run_pass(self)
    finally:
        print(time.monotonic() - began, file=file)
Controller.run_pass = timed
sys.exit(main())
"""


class Storm(NamedTuple):
    """The protection of all pods, which have users: what the first daemon ever has to write.

    first_pass: seconds of the pass that begins it. protection: CPU milliseconds of the API server
    for each pod. megabytes: of the daemon after it.
    """

    first_pass: float
    protection: float
    megabytes: float


class Figures(NamedTuple):
    """What a daemon costs. Seconds of a pass; CPU in percent of a core; requests of a pass.

    cpu_pass: CPU seconds of a pass.
    """

    deployments: int
    storm: Storm
    mean_pass: float
    median_pass: float
    p95_pass: float
    cpu_pass: float
    daemon_cpu: float
    megabytes: float
    threads: int
    api_server_cpu: float
    lists: float
    watches: float
    writes: float
    queries: float
    metrics_megabytes: float
    metrics_seconds: float

    def line(self) -> str:
        return (
            f"{self.deployments:>11} {self.storm.first_pass:>10.1f} {self.mean_pass:>9.3f} "
            f"{self.p95_pass:>9.3f} {self.cpu_pass:>9.3f} "
            f"{self.daemon_cpu:>7.1f} {self.megabytes:>7.0f} {self.threads:>8} "
            f"{self.api_server_cpu:>8.1f} {self.lists:>7.1f} {self.watches:>8.2f} "
            f"{self.writes:>7.1f} {self.queries:>8.1f} {self.metrics_megabytes:>9.2f}"
        )


HEAD = (
    "Deployments first pass mean pass  p95 pass CPU, s/pass CPU, %  RSS, MB  threads API CPU,%   "
    "LISTs  WATCHes  writes  queries /metrics, MB"
)


def goals(largest: Figures, smallest: Figures) -> Iterator[Figure]:
    """Yield the figures that have a goal with 1,000 Deployments, beside those with fewer."""
    yield Figure("a pass, 95th percentile", largest.p95_pass, "s", 1.0)
    yield Figure("a pass in which nothing has changed, median", largest.median_pass, "s", 0.3)
    yield Figure("daemon at rest, CPU", largest.daemon_cpu, "%", 30)
    yield Figure("daemon, RSS", largest.megabytes, "MB", 250)
    yield Figure("API server at rest, CPU", largest.api_server_cpu, "%", 5)
    yield Figure("/metrics, size", largest.metrics_megabytes, "MB", 1.5)
    yield Figure("/metrics, time", largest.metrics_seconds, "s", 0.2)
    yield Figure("daemon that has just protected all pods, RSS", largest.storm.megabytes, "MB", 250)
    yield Figure("its first pass", largest.storm.first_pass, "s")
    yield Figure("API server, CPU for a protected pod", largest.storm.protection, "ms")
    times = largest.deployments / smallest.deployments
    if times == 1:
        return
    pods = PODS * (largest.deployments - smallest.deployments)
    kilobytes = 1e3 * (largest.megabytes - smallest.megabytes) / pods
    yield Figure("a further pod, RSS", kilobytes, "KB", 6)
    yield Figure("threads", largest.threads, "", MOST_THREADS)
    yield Figure("Prometheus queries a pass", largest.queries, "", round(smallest.queries, 1))
    yield Figure("CPU of a pass", largest.cpu_pass, "s", round(times * smallest.cpu_pass, 3))


def measure(count: int, passes: int) -> Figures:
    """One control plane, so many Deployments, one daemon."""
    kubernetes, prometheus = installed(KUBERNETES), installed(PROMETHEUS)
    if kubernetes is None or prometheus is None:
        raise SystemExit("no control plane or Prometheus here: run `make parts`")
    with (
        tempfile.TemporaryDirectory() as name,
        ControlPlane(kubernetes, Path(name)) as plane,
        PrometheusServer(prometheus / "prometheus", Path(name)) as server,
    ):
        plane.node.network = "127.1"  # one listener answers at all of these addresses
        _deploy(plane, count)
        with sidecars_of_all() as port:
            daemon = partial(_daemon, Path(name), plane, server, port, count)
            with daemon() as bench:
                storm = bench.settle()
            with daemon() as bench:  # which finds all pods protected, as after each of its updates
                return bench.figures(count, passes, storm)


@contextmanager
def sidecars_of_all() -> Iterator[int]:
    """Answer for the sidecars of all pods; yields their port."""
    sidecars = ScriptedSidecars()
    try:
        sidecars.say("0.0.0.0", USERS)  # at all addresses
        yield sidecars.port
    finally:
        sidecars.stop()


def _deploy(plane: ControlPlane, count: int) -> None:
    """Some at a time, because the scripted node patches the status of one pod after the other."""
    plane.create_namespace(NAMESPACE)
    for first in range(0, count, AT_ONCE):
        names = [f"app-{number}" for number in range(first, min(count, first + AT_ONCE))]
        for name in names:
            plane.apps.create_namespaced_deployment(NAMESPACE, deployment(name, PODS))
        last = partial(_is_ready, plane, names)
        wait_until(last, 600, f"{PODS} Ready pods of each of {names[0]} to {names[-1]}")


def _is_ready(plane: ControlPlane, names: Sequence[str]) -> bool:
    found = (raw(plane.apps.read_namespaced_deployment, name, NAMESPACE) for name in names)
    return all(each["status"].get("readyReplicas", 0) == PODS for each in found)


class Bench:
    """A daemon that runs, and the exporters of all pods as Prometheus has them."""

    def __init__(
        self, plane: ControlPlane, server: PrometheusServer, pid: int, port: int, durations: Path
    ) -> None:
        self._plane, self._server = plane, server
        self._pid, self._port, self._durations = pid, port, durations
        listed = raw(plane.core.list_namespaced_pod, NAMESPACE)["items"]
        self._pods = [pod["metadata"]["name"] for pod in listed]
        self._pushed = 0.0

    def figures(self, count: int, passes: int, storm: Storm) -> Figures:
        """Return what a daemon at rest costs."""
        self.settle()
        before, began = self._totals(), time.monotonic()
        spent = cpu_seconds(self._pid), cpu_seconds(self._plane.pid("kube-apiserver"))
        first, asked = len(self._seconds()), self._queries()
        while len(seconds := self._seconds()[first:]) < passes:
            self._wait()
        took = time.monotonic() - began
        daemon, server = cpu_seconds(self._pid), cpu_seconds(self._plane.pid("kube-apiserver"))
        made = {verb: number - before.get(verb, 0) for verb, number in self._totals().items()}
        queries = (self._queries() - asked) / len(seconds)
        writes = sum(made.get(verb, 0) for verb in ("PATCH", "PUT", "POST", "APPLY"))
        return Figures(
            deployments=count,
            storm=storm,
            mean_pass=mean(seconds),
            median_pass=median(seconds),
            p95_pass=quantiles(seconds, n=20)[-1],
            cpu_pass=(daemon - spent[0]) / len(seconds),
            daemon_cpu=100 * (daemon - spent[0]) / took,
            megabytes=resident_megabytes(self._pid),
            threads=len(list(Path(f"/proc/{self._pid}/task").iterdir())),
            api_server_cpu=100 * (server - spent[1]) / took,
            lists=made.get("LIST", 0) / len(seconds),
            watches=made.get("WATCH", 0) / len(seconds),
            writes=writes / len(seconds),
            queries=queries,
            metrics_megabytes=len(self._metrics()) / 1e6,
            metrics_seconds=median(self._metrics_seconds() for _ in range(5)),
        )

    def settle(self) -> Storm:
        """Wait until all pods are protected and three passes in a row have written nothing.

        Returns what it cost until then. A daemon that does not lead would write nothing either, and
        would cost little.
        """
        at, written, spent = 0, -1, cpu_seconds(self._plane.pid("kube-apiserver"))
        while True:
            self._wait()
            if len(self._seconds()) < at + 3:
                continue
            now = self._totals().get("PATCH", 0)
            cost = 1e3 * (cpu_seconds(self._plane.pid("kube-apiserver")) - spent) / len(self._pods)
            if now == written and self._are_protected():
                return Storm(self._seconds()[0], cost, resident_megabytes(self._pid))
            at, written = len(self._seconds()), now

    def _are_protected(self) -> bool:
        found = raw(self._plane.core.list_namespaced_pod, NAMESPACE)["items"]
        annotations = (pod["metadata"].get("annotations") or {} for pod in found)
        return all(each.keys() >= PROTECTED.keys() for each in annotations)

    def _wait(self) -> None:
        """A moment, with a scrape of all pods if it is time for one."""
        if time.monotonic() - self._pushed >= SCRAPE_INTERVAL:
            self._pushed, now = time.monotonic(), time.time()
            labels = {"app": "/app", "state": "connected", "quality": "exact"}
            self._server.push(
                {
                    series("bokeh_sessions", **labels, namespace=NAMESPACE, pod=pod): [(now, USERS)]
                    for pod in self._pods
                }
            )
        time.sleep(0.2)

    def _seconds(self) -> list[float]:
        return [float(line) for line in self._durations.read_text().split()]

    def _totals(self) -> Mapping[str, int]:
        """The requests for what we read and patch, by verb, since the API server started."""
        totals: dict[str, int] = {}
        settings = self._plane.api.configuration
        context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
        token = settings.get_api_key_with_prefix("BearerToken", "authorization")
        request = urllib.request.Request(f"{settings.host}/metrics")
        request.add_header("Authorization", str(token))
        with urllib.request.urlopen(request, context=context) as answer:
            text = answer.read().decode()
        for verb, number in REQUESTS.findall(text):
            totals[verb] = totals.get(verb, 0) + int(number)
        return totals

    def _queries(self) -> float:
        """The queries that Prometheus has answered since it started."""
        with urllib.request.urlopen(f"{self._server.url}/metrics") as answer:
            return sum(map(float, QUERIES.findall(answer.read().decode())))

    def _metrics_seconds(self) -> float:
        began = time.perf_counter()
        self._metrics()
        return time.perf_counter() - began

    def _metrics(self) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics") as answer:
            found: bytes = answer.read()
            return found


@contextmanager
def _daemon(
    folder: Path, plane: ControlPlane, server: PrometheusServer, sidecar_port: int, count: int
) -> Iterator[Bench]:
    policies, durations = folder / "policies", folder / "durations"
    policies.mkdir(exist_ok=True)
    durations.write_text("")
    for number in range(count):
        (policies / f"{number}.yaml").write_text(yaml.safe_dump(_policy(number)))
    (port,) = free_ports(1)
    command = [sys.executable, "-c", TIMED, str(durations), "run", "--policies", str(policies)]
    command += ["--kubeconfig", str(plane.admin), "--prometheus-url", server.url]
    command += ["--lease-namespace", NAMESPACE]
    command += ["--exporter-port", str(sidecar_port)]
    command += ["--scrape-interval", f"{SCRAPE_INTERVAL:g}s", "--listen", f"127.0.0.1:{port}"]
    with Path("/dev/null").open("w") as log:
        environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}  # as in the image
        process = subprocess.Popen(command, stderr=log, cwd=folder, env=environment)
    try:
        yield Bench(plane, server, process.pid, port, durations)
    finally:
        process.terminate()
        process.wait()


def _policy(number: int) -> dict[str, object]:
    return {
        "name": f"app-{number}",
        "target": {"namespace": NAMESPACE, "deployment": f"app-{number}"},
        "replicas": {"min": PODS, "max": 2 * PODS},
        "metrics": [{"type": "sessions", "seats": 10}],
    }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.scale", description=__doc__)
    parser.add_argument("deployments", nargs="*", type=int, default=[100, 300, 1_000])
    parser.add_argument("--passes", type=int, default=PASSES)
    options = parser.parse_args(arguments)
    print(HEAD, flush=True)
    measured = []
    for count in options.deployments:
        measured.append(measure(count, options.passes))
        print(measured[-1].line(), flush=True)
    print(f"\n{f'with {measured[-1].deployments} Deployments':<58}{'measured':>12}{'goal':>12}")
    for figure in goals(measured[-1], measured[0]):
        met = "" if figure.goal is None or figure.value > figure.goal else "  met"
        print(f"{figure.line()}{met}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
