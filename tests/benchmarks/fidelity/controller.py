"""The simulated HPA beside the real HPA controller, on the same load.

The same manifest goes to both: to the API server, for the real controller at its defaults, and to
`autoscaler simulate --against`. A Deployment with pods on a scripted node follows the real one.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import yaml

from autoscaler.adapters.policies.baselines import HPA_CPU_WINDOW, Baseline, load_baselines
from autoscaler.policy import Policy
from autoscaler.simulation.engine import Assumptions, simulate
from autoscaler.simulation.front import WhenFull
from autoscaler.simulation.rebuild import Count, sessions_of
from autoscaler.simulation.timeline import StepRecorder, Steps
from autoscaler.simulation.trace import Session, Trace
from tests.benchmarks.fidelity.trajectories import Distance, distance
from tests.benchmarks.fidelity.usage import Usage
from tests.benchmarks.watches import watching
from tests.hpa.curves import PER_REPLICA, Curve, random_curve
from tests.hpa.oracle import NAMESPACE, Oracle
from tests.lab.build import KUBERNETES, installed
from tests.lab.objects import deployment
from tests.lab.processes import wait_until

SYNC_PERIOD = 15.0  # seconds, the controller's default
CURVES, SECONDS, PACE = 18, 480, 4
BY_CPU_TOO = 6  # of all loads
LEAD_TIME = 20.0
# With as many sessions a pod as the external metric asks for, the CPU is at its target too.
ASSUMED = Assumptions(
    seats=PER_REPLICA,
    lead_time=LEAD_TIME,
    cpu_per_session=0.07,
    when_full=WhenFull.OVERFILL,
    scrape_interval=0.0,  # the controller is told what is so at the moment
    page_load=0.0,
    returns_after=0.0,
)
BY_CPU = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
}
RESOURCES = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}


@dataclass
class Load:
    """A curve that begins at the controller's first look, and the replicas that followed.

    period: seconds from one sync to the next. by_cpu: whether the HPA reads CPU and not an external
    metric.
    """

    curve: Curve
    period: float = SYNC_PERIOD
    by_cpu: bool = False
    looks: list[float] = field(default_factory=list)
    replicas: StepRecorder = field(default_factory=StepRecorder)

    @property
    def name(self) -> str:
        return self.curve.name

    @property
    def seconds(self) -> float:
        return float(len(self.curve.sessions))

    @property
    def signal(self) -> str:
        return "CPU" if self.by_cpu else "external"

    def milli(self) -> list[int]:
        """The figure now, as the external metric gives it."""
        self.looks.append(time.time())
        return self.curve.milli(self.looks[0])

    def is_over(self) -> bool:
        return bool(self.looks) and time.time() - self.looks[0] > self.seconds

    def real(self) -> Steps:
        """The replicas by seconds since the curve began."""
        times, values = self.replicas.steps()
        return Steps(tuple(at - self.looks[0] for at in times), values)

    def on_time(self) -> Steps:
        """The same if each sync had taken no time, and so had come when the simulated one did."""
        times, values = self.real()
        return Steps(tuple(round(at / self.period) * self.period for at in times), values)

    def sessions(self) -> tuple[Session, ...]:
        """The curve as sessions, in seconds since it began."""
        counts = [Count(float(at), number) for at, number in enumerate(self.curve.sessions)]
        return tuple(sessions_of(counts, self.seconds + 1))

    def manifest(self) -> dict[str, Any]:
        """The HPA as both get it."""
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.name}
        metrics = {"metrics": [BY_CPU]} if self.by_cpu else {}
        return {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": self.name},
            "spec": {"scaleTargetRef": target, **self.curve.hpa, **metrics},
        }


def external_loads(
    seed: int,
    number: int = CURVES,
    seconds: int = SECONDS,
    pace: int = PACE,
    period: float = SYNC_PERIOD,
) -> list[Load]:
    """Loads with random shapes; a third of them under HPA's default behavior."""
    random = Random(seed)
    curves = [random_curve(random, f"load-{n}", seconds, pace) for n in range(number)]
    return [
        Load(replace(curve, sessions=held(curve.sessions, period), behavior=behavior), period)
        for index, curve in enumerate(curves)
        for behavior in [curve.behavior if index % 3 else {}]
    ]


def held(sessions: Sequence[int], period: float) -> tuple[int, ...]:
    """Let a curve change only in the middle between two syncs.

    Each sync of the real controller takes a while, so each comes a little later than the simulated
    one. Both are to see the same load.
    """
    nearest = (round(second / period) * period for second in range(len(sessions)))
    return tuple(sessions[min(int(second), len(sessions) - 1)] for second in nearest)


def loads(seed: int) -> list[Load]:
    """Loads of which the last ones are followed by CPU."""
    chosen = external_loads(seed)
    for load in chosen[-BY_CPU_TOO:]:
        load.by_cpu = True
    return chosen


def measure(chosen: Sequence[Load], folder: Path) -> None:
    """Let the real controller follow all loads side by side. Takes as long as they last.

    chosen: all with the same period.
    """
    programs = installed(KUBERNETES)
    if programs is None:
        raise SystemExit("no control plane here: run `make parts`")
    period = chosen[0].period
    options = {"horizontal_pod_autoscaler_sync_period": f"{period:g}s"}
    with Oracle(programs, folder, options) as oracle, _deployed(oracle, chosen):
        for load in chosen:
            oracle.create(load.name, load.manifest()["spec"])
        longest = max(load.seconds for load in chosen) + 4 * period + 30
        wait_until(lambda: all(load.is_over() for load in chosen), longest, "the end of all loads")


@contextmanager
def _deployed(oracle: Oracle, chosen: Sequence[Load]) -> Iterator[None]:
    """A Deployment of one Ready pod for each, whose replicas are noted, and its metrics."""
    cluster, by_name = oracle.cluster, {load.name: load for load in chosen}
    usages = {
        load.name: Usage(load.sessions(), ASSUMED.cpu_per_session, HPA_CPU_WINDOW, load.looks)
        for load in chosen
        if load.by_cpu
    }
    oracle.apis.pod_metrics.update(usages)
    oracle.apis.external.update({name: load.milli for name, load in by_name.items()})

    def note(_: str, seen: Mapping[str, Any]) -> None:
        replicas = by_name[seen["metadata"]["name"]].replicas
        replicas.set(time.time(), seen["spec"]["replicas"])

    def see(kind: str, pod: Mapping[str, Any]) -> None:
        if usage := usages.get(pod["metadata"]["labels"].get("app", "")):
            usage.see(kind, pod)

    for name in by_name:
        body = deployment(name, 1, resources=RESOURCES)
        cluster.apps.create_namespaced_deployment(NAMESPACE, body)
    for name in by_name:
        cluster.settle(NAMESPACE, name, 1)
    if usages:
        time.sleep(LEAD_TIME)  # the first pods would be starting again if they were younger
        cluster.node.ready_after = LEAD_TIME
    deployments, pods = cluster.apps.list_namespaced_deployment, cluster.core.list_namespaced_pod
    with watching(deployments, NAMESPACE, note), watching(pods, NAMESPACE, see):
        yield


def simulated(load: Load, before: float = 0.0) -> Steps:
    """The replicas of the simulated HPA.

    before: seconds by which each of its syncs comes before one of the real controller's.
    """
    trace = Trace(load.name, load.sessions(), -before, load.seconds)
    hpa = baseline(load.manifest(), load.curve.policy)
    assumed = replace(ASSUMED, tick=load.period, cpu_window=hpa.cpu_window or ASSUMED.cpu_window)
    return simulate(hpa.policy, trace, assumed).timeline.desired


def baseline(manifest: Mapping[str, Any], policy: Policy) -> Baseline:
    """The HPA as `--against` reads it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "hpa.yaml")
        file.write_text(yaml.safe_dump(dict(manifest)))
        return load_baselines(str(file), policy)[0]


def compare(load: Load, before: float = 0.0) -> Distance:
    """How far the simulated HPA is from the real one while the load lasts."""
    return distance(load.real(), simulated(load, before), 0.0, load.seconds)


def compare_decisions(load: Load) -> Distance:
    """The same without the part that comes from syncs that take time."""
    return distance(load.on_time(), simulated(load), 0.0, load.seconds)
