"""Beside the real HPA: seconds from a load step to the patch that asks for enough replicas.

`python -m tests.benchmarks.kubernetes [--json]`: 20 pairs of Deployments of two pods, each with 20
sessions. At a random moment of its own each pair gets 80; with 10 sessions a pod that is 8 pods.
Our daemon scales one of the pair, at its defaults, by what a real Prometheus scrapes from the pods
every 5 s. The real HPA controller scales the other at its own defaults; its external metric is the
number of sessions at the very moment that it asks. With `--policies N` the daemon has N further
policies, each for a Deployment of its own with one pod at rest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

import yaml

from autoscaler.control.controller import WRITES_PER_SECOND
from tests.benchmarks.daemon import mean_pass
from tests.benchmarks.exporters import Exporters
from tests.benchmarks.figure import cpu_seconds, resident_megabytes
from tests.benchmarks.scale import AT_ONCE
from tests.benchmarks.watches import watching
from tests.hpa.oracle import NAMESPACE, Oracle
from tests.lab.access import raw
from tests.lab.build import KUBERNETES, PROMETHEUS, installed
from tests.lab.control_plane import ControlPlane
from tests.lab.objects import deployment
from tests.lab.processes import free_ports, wait_until
from tests.lab.prometheus_server import PrometheusServer

AUTOSCALER = Path(sys.executable).with_name("autoscaler")
PAIRS, SPREAD, SETTLE, PATIENCE = 20, 60.0, 20.0, 60.0  # but for the first in seconds
PODS, PER_POD, BEFORE, AFTER = 2, 10, 20, 80
ENOUGH = AFTER // PER_POD
SCRAPE_INTERVAL = 5.0
DAEMON_LOG = "daemon.log"
GOAL = 0.25  # of HPA's mean
SUMMARY = "Seconds from a load step to enough replicas: our daemon and the real HPA."


@dataclass
class App:
    """One Deployment: when its step comes, and when its replicas were changed, in Unix seconds."""

    name: str
    step_at: float = float("inf")
    pods: tuple[str, ...] = ()
    changes: list[tuple[float, int]] = field(default_factory=list)

    def note(self, replicas: int) -> None:
        if not self.changes or self.changes[-1][1] != replicas:
            self.changes.append((time.time(), replicas))

    def sessions(self) -> int:
        return AFTER if time.time() >= self.step_at else BEFORE

    def milli(self) -> list[int]:
        return [1000 * self.sessions()]

    def first(self) -> float:
        """Seconds from the step to the first patch."""
        return self._reached(PODS + 1) - self.step_at

    def enough(self) -> float:
        """Seconds from the step to the patch that asks for enough."""
        return self._reached(ENOUGH) - self.step_at

    def done(self) -> bool:
        return any(replicas >= ENOUGH for _, replicas in self.changes)

    def _reached(self, wanted: int) -> float:
        return next(at for at, replicas in self.changes if replicas >= wanted)


@dataclass(frozen=True)
class Bench:
    """What runs: the control plane with the real HPA, our exporters, both halves of the pairs.

    interval: of our policies; None for the default. others: Deployments of further policies.
    """

    oracle: Oracle
    exporters: Exporters
    ours: Sequence[App]
    theirs: Sequence[App]
    folder: Path
    interval: str | None
    others: Sequence[str] = ()

    @property
    def cluster(self) -> ControlPlane:
        return self.oracle.cluster


def run(
    seed: int,
    interval: str | None = None,
    scrape_interval: float = SCRAPE_INTERVAL,
    policies: int = 0,
) -> dict[str, Any]:
    """All steps of one run, as figures: seconds but where the name says otherwise.

    policies: how many there are beside those that are measured.
    """
    kubernetes, prometheus = installed(KUBERNETES), installed(PROMETHEUS)
    if kubernetes is None or prometheus is None:
        raise SystemExit("no control plane or no Prometheus here: run `make parts`")
    with (
        tempfile.TemporaryDirectory() as name,
        Oracle(kubernetes, Path(name), {}) as oracle,
        Exporters(NAMESPACE) as exporters,
    ):
        ours = [App(f"ours-{number}") for number in range(PAIRS)]
        theirs = [App(f"hpa-{number}") for number in range(PAIRS)]
        others = [f"other-{number}" for number in range(policies)]
        bench = Bench(oracle, exporters, ours, theirs, Path(name), interval, others)
        targets = [*_deploy(bench), *_deploy_others(bench)]
        with PrometheusServer(
            prometheus / "prometheus",
            Path(name),
            targets=targets,
            scrape_interval=scrape_interval,
        ) as server:
            return _measure(bench, server, Random(seed))


def _deploy(bench: Bench) -> list[tuple[str, Mapping[str, str]]]:
    """All Deployments with two Ready pods, each of which is scraped on its own."""
    apps = [*bench.ours, *bench.theirs]
    for app in apps:
        bench.cluster.apps.create_namespaced_deployment(NAMESPACE, deployment(app.name, PODS))
    targets = []
    for app in apps:
        bench.cluster.settle(NAMESPACE, app.name, PODS)
    for app in bench.ours:
        app.pods = tuple(_pod_names(bench.cluster, app))
        targets += [bench.exporters.add(f"/{pod}", _one_pod(app, pod)) for pod in app.pods]
        targets.append(bench.exporters.add(f"/{app.name}/new", _new_pods(bench.cluster, app)))
    return targets


def _deploy_others(bench: Bench) -> list[tuple[str, Mapping[str, str]]]:
    """The Deployments beside those that are measured; all their pods are one target."""
    for first in range(0, len(bench.others), AT_ONCE):
        names = bench.others[first : first + AT_ONCE]
        for name in names:
            body = deployment(name, 1, labels={"others": "true"})
            bench.cluster.apps.create_namespaced_deployment(NAMESPACE, body)
        for name in names:
            bench.cluster.settle(NAMESPACE, name, 1)
    if not bench.others:
        return []
    pods = _pods(bench.cluster, "others=true")
    return [bench.exporters.add("/others", lambda: dict.fromkeys(pods, PER_POD // 2))]


def _pod_names(cluster: ControlPlane, app: App) -> list[str]:
    return _pods(cluster, f"app={app.name}")


def _pods(cluster: ControlPlane, selector: str) -> list[str]:
    found = raw(cluster.core.list_namespaced_pod, NAMESPACE, label_selector=selector)["items"]
    return [pod["metadata"]["name"] for pod in found]


def _one_pod(app: App, pod: str) -> Any:
    """Sessions are pinned: those who come while there are two pods stay on them."""
    return lambda: {pod: app.sessions() // PODS}


def _new_pods(cluster: ControlPlane, app: App) -> Any:
    return lambda: {pod: 0 for pod in _pod_names(cluster, app) if pod not in app.pods}


def _measure(bench: Bench, server: PrometheusServer, random: Random) -> dict[str, Any]:
    with _watching(bench), _daemon(bench, server) as (process, port):
        for app in bench.theirs:
            bench.oracle.apis.external[app.name] = app.milli
            bench.oracle.create(app.name, _hpa(app.name))
            time.sleep(random.uniform(0, SETTLE / PAIRS))  # each in a phase of its own
        # Until then the pods of the others, which have users, are protected: one write each.
        time.sleep(SETTLE + 2 * len(bench.others) / WRITES_PER_SECOND)
        began, spent = time.time(), cpu_seconds(process.pid)
        for our, their in zip(bench.ours, bench.theirs, strict=True):
            our.step_at = their.step_at = began + random.uniform(0, SPREAD)
        _await_all(bench)
        lasted, spent = time.time() - began, cpu_seconds(process.pid) - spent
        return {
            **_figures(bench),
            "pass": mean_pass(port),
            "run": lasted,
            "cpu_seconds": spent,
            "rss_megabytes": resident_megabytes(process.pid),
        }


def _await_all(bench: Bench) -> None:
    apps = [*bench.ours, *bench.theirs]
    try:
        wait_until(lambda: all(app.done() for app in apps), SPREAD + PATIENCE, "enough replicas")
    except AssertionError as error:
        late = ", ".join(app.name for app in apps if not app.done())
        said = "\n".join((bench.folder / DAEMON_LOG).read_text().splitlines()[-10:])
        raise SystemExit(f"{error} of {late}; the daemon's last words:\n{said}") from None


@contextmanager
def _daemon(
    bench: Bench, server: PrometheusServer
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Our daemon, one policy for each of our Deployments and the others, all at its defaults."""
    policies = bench.folder / "policies"
    policies.mkdir()
    for name, least in [*((app.name, PODS) for app in bench.ours), *((n, 1) for n in bench.others)]:
        (policies / f"{name}.yaml").write_text(yaml.safe_dump(_policy(bench, name, least)))
    (port,) = free_ports(1)
    command = [str(AUTOSCALER), "run", "--policies", str(policies)]
    command += ["--kubeconfig", str(bench.cluster.admin), "--prometheus-url", server.url]
    command += ["--lease-namespace", NAMESPACE, "--listen", f"127.0.0.1:{port}"]
    with (bench.folder / DAEMON_LOG).open("w") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        yield process, port
    finally:
        process.terminate()
        process.wait()


def _policy(bench: Bench, name: str, least: int) -> dict[str, Any]:
    own = {"interval": bench.interval} if bench.interval else {}
    return {
        **own,
        "name": name,
        "target": {"namespace": NAMESPACE, "deployment": name},
        "replicas": {"min": least, "max": 20},
        "metrics": [{"type": "sessions", "seats": PER_POD}],
    }


def _hpa(name: str) -> dict[str, Any]:
    goal = {"type": "AverageValue", "averageValue": str(PER_POD)}
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": PODS,
        "maxReplicas": 20,
        "metrics": [{"type": "External", "external": {"metric": {"name": name}, "target": goal}}],
    }


def _watching(bench: Bench) -> AbstractContextManager[None]:
    """Notes every change of replicas of the pairs."""
    apps = {app.name: app for app in (*bench.ours, *bench.theirs)}

    def note(_: str, seen: Mapping[str, Any]) -> None:
        if seen["metadata"]["name"] in apps:
            apps[seen["metadata"]["name"]].note(seen["spec"]["replicas"])

    return watching(bench.cluster.apps.list_namespaced_deployment, NAMESPACE, note)


def _figures(bench: Bench) -> dict[str, Any]:
    scraped = [_scraped(bench.exporters, app) for app in bench.ours]
    ours, theirs = [app.enough() for app in bench.ours], [app.enough() for app in bench.theirs]
    return {
        "steps": PAIRS,
        "policies": len(bench.ours) + len(bench.others),
        "ours_first": [app.first() for app in bench.ours],
        "ours_enough": ours,
        "ours_scrape_wait": scraped,
        "hpa_first": [app.first() for app in bench.theirs],
        "hpa_enough": theirs,
        "share_of_hpa": mean(ours) / mean(theirs),
    }


def _scraped(exporters: Exporters, app: App) -> float:
    """Seconds from the step to the scrape after which all its sessions are known."""
    return max(
        next(at for at in exporters.scrapes[f"/{pod}"] if at >= app.step_at) - app.step_at
        for pod in app.pods
    )


def table(figures: Mapping[str, Any]) -> str:
    """The figures for a reader."""
    rows = [
        ("", "mean", "least", "most"),
        _row("ours: first patch", figures["ours_first"]),
        _row("ours: enough asked for", figures["ours_enough"]),
        _row("HPA: first patch", figures["hpa_first"]),
        _row("HPA: enough asked for", figures["hpa_enough"]),
    ]
    steps = f"{figures['steps']} steps, {figures['policies']} policies"
    lines = [f"seconds from a step ({BEFORE} to {AFTER} sessions), {steps}"]
    lines += [f"{name:<26}{middle:>8}{low:>8}{high:>8}" for name, middle, low, high in rows]
    return "\n".join([*lines, _verdict(figures), _cost(figures)])


def _verdict(figures: Mapping[str, Any]) -> str:
    """The share of HPA's time, and where ours goes."""
    share, scrape = figures["share_of_hpa"], mean(figures["ours_scrape_wait"])
    tick = mean(figures["ours_enough"]) - scrape - figures["pass"]
    parts = f"{scrape:.1f} s to the scrape, {tick:.1f} to the pass, {figures['pass']:.2f} in it"
    return f"ours is {share:.1%} of HPA's (goal {GOAL:.0%}{', missed' * (share > GOAL)}): {parts}"


def _cost(figures: Mapping[str, Any]) -> str:
    cpu, memory = figures["cpu_seconds"], figures["rss_megabytes"]
    return f"the daemon over {figures['run']:.0f} s: {cpu:.2f} s of CPU, {memory:.0f} MB of RSS"


def _row(name: str, seconds: Sequence[float]) -> tuple[str, str, str, str]:
    return name, f"{mean(seconds):.1f}", f"{min(seconds):.1f}", f"{max(seconds):.1f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """One run; a table, or with --json one object."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.kubernetes", description=SUMMARY)
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the steps")
    parser.add_argument("--interval", help="of our policies, such as 2s (default: theirs)")
    parser.add_argument(
        "--scrape-interval", type=float, default=SCRAPE_INTERVAL, help="in seconds (default 5)"
    )
    parser.add_argument(
        "--policies", type=int, default=0, help="further policies, at rest (default 0)"
    )
    options = parser.parse_args(arguments)
    figures = run(options.seed, options.interval, options.scrape_interval, options.policies)
    print(json.dumps(figures) if options.json else table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
