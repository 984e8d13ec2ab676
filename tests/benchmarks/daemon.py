"""What the daemon costs with 100 policies: memory and CPU, on a real API server and Prometheus.

Every policy has a Deployment of its own with one pod, whose sessions Prometheus tells.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.benchmarks.figure import Figure, cpu_seconds, resident_megabytes
from tests.lab.build import KUBERNETES, PROMETHEUS, installed
from tests.lab.control_plane import ControlPlane
from tests.lab.objects import deployment
from tests.lab.processes import free_ports, wait_until
from tests.lab.prometheus_server import PrometheusServer, series

AUTOSCALER = Path(sys.executable).with_name("autoscaler")
POLICIES, PASSES = 100, 12
NAMESPACE = "bench"


def measure() -> Iterator[Figure]:
    kubernetes, prometheus = installed(KUBERNETES), installed(PROMETHEUS)
    if kubernetes is None or prometheus is None:
        print("the daemon is not measured: no control plane or Prometheus here, run `make parts`")
        return
    with (
        tempfile.TemporaryDirectory() as name,
        ControlPlane(kubernetes, Path(name)) as access,
        PrometheusServer(prometheus / "prometheus", Path(name)) as server,
    ):
        _deploy(access)
        yield from _run(Path(name), access, server)


def _deploy(access: ControlPlane) -> None:
    access.create_namespace(NAMESPACE)
    for number in range(POLICIES):
        access.apps.create_namespaced_deployment(NAMESPACE, deployment(f"app-{number}", 1))
    wait_until(lambda: len(_pods(access)) == POLICIES, 120, "the pods")


def _pods(access: ControlPlane) -> list[str]:
    items = access.core.list_namespaced_pod(NAMESPACE).items
    return [pod.metadata.name for pod in items if pod.status.phase == "Running"]


def _run(folder: Path, access: ControlPlane, server: PrometheusServer) -> Iterator[Figure]:
    policies = folder / "policies"
    policies.mkdir()
    for number in range(POLICIES):
        (policies / f"{number}.yaml").write_text(yaml.safe_dump(_policy(number)))
    (port,) = free_ports(1)
    command = [str(AUTOSCALER), "run", "--policies", str(policies), "--kubeconfig"]
    command += [str(access.admin), "--prometheus-url", server.url]
    command += ["--listen", f"127.0.0.1:{port}"]
    with (folder / "daemon.log").open("w") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        began, spent = 0.0, 0.0
        for count in range(PASSES):
            _push(server, _pods(access))
            time.sleep(5)
            if count == 1:  # start-up is over
                began, spent = time.monotonic(), cpu_seconds(process.pid)
        cpu = (cpu_seconds(process.pid) - spent) / (time.monotonic() - began)
        yield Figure(
            f"daemon, {POLICIES} policies, RSS", resident_megabytes(process.pid), "MB", 120
        )
        yield Figure(f"daemon, {POLICIES} policies, CPU", 100 * cpu, "%")
        yield Figure(f"daemon, {POLICIES} policies, one pass", 1e3 * mean_pass(port), "ms")
    finally:
        process.terminate()
        process.wait()


def _policy(number: int) -> dict[str, object]:
    return {
        "name": f"app-{number}",
        "target": {"namespace": NAMESPACE, "deployment": f"app-{number}"},
        "replicas": {"min": 1, "max": 8},
        "metrics": [{"type": "sessions", "seats": 20}, {"type": "cpu", "utilization": "70%"}],
    }


def _push(server: PrometheusServer, pods: list[str]) -> None:
    now, labels = time.time(), {"app": "/app", "state": "connected", "quality": "exact"}
    server.push(
        {
            series("bokeh_sessions", **labels, namespace=NAMESPACE, pod=pod): [(now, 5.0)]
            for pod in pods
        }
    )


def mean_pass(port: int) -> float:
    """Mean seconds of a pass, as the daemon's own metrics tell it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("bokeh_autoscaler_pass_duration_seconds")
    }
    name = "bokeh_autoscaler_pass_duration_seconds"
    return values[f"{name}_sum"] / values[f"{name}_count"]
