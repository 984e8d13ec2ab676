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
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import yaml

from autoscaler.adapters.policies.baselines import load_baseline
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
# Of CPU samples in seconds: as `simulate` assumes, and as metrics-server usually has it.
WINDOWS = (60.0, 15.0)
LEAD_TIME = 20.0
# With as many sessions a pod as the external metric asks for, the CPU is at its target too.
ASSUMED = Assumptions(
    seats=PER_REPLICA,
    lead_time=LEAD_TIME,
    cpu_per_session=0.07,
    when_full=WhenFull.OVERFILL,
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

    window: of the samples if the HPA is one by CPU; None: it is one by an external metric.
    """

    curve: Curve
    window: float | None = None
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
        return "external" if self.window is None else f"CPU, {self.window:g} s"

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

    def sessions(self) -> tuple[Session, ...]:
        """The curve as sessions, in seconds since it began."""
        counts = [Count(float(at), number) for at, number in enumerate(self.curve.sessions)]
        return tuple(sessions_of(counts, self.seconds + 1))

    def manifest(self) -> dict[str, Any]:
        """The HPA as both get it."""
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.name}
        metrics = {} if self.window is None else {"metrics": [BY_CPU]}
        return {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": self.name},
            "spec": {"scaleTargetRef": target, **self.curve.hpa, **metrics},
        }


def external_loads(
    seed: int, number: int = CURVES, seconds: int = SECONDS, pace: int = PACE
) -> list[Load]:
    """Loads with random shapes; a third of them under HPA's default behavior."""
    random = Random(seed)
    curves = [random_curve(random, f"load-{n}", seconds, pace) for n in range(number)]
    return [
        Load(curve if index % 3 else replace(curve, behavior={}))
        for index, curve in enumerate(curves)
    ]


def loads(seed: int) -> list[Load]:
    """Loads of which a third are followed by CPU."""
    chosen = external_loads(seed)
    for load, window in zip(chosen[-CURVES // 3 :], cycle(WINDOWS), strict=False):
        load.window = window
    return chosen


def measure(chosen: Sequence[Load], folder: Path, sync_period: float = SYNC_PERIOD) -> None:
    """Let the real controller follow all loads side by side. Takes as long as they last."""
    programs = installed(KUBERNETES)
    if programs is None:
        raise SystemExit("no control plane here: run `make parts`")
    options = {"horizontal_pod_autoscaler_sync_period": f"{sync_period:g}s"}
    with Oracle(programs, folder, options) as oracle, _deployed(oracle, chosen):
        for load in chosen:
            oracle.create(load.name, load.manifest()["spec"])
        longest = max(load.seconds for load in chosen) + 4 * sync_period + 30
        wait_until(lambda: all(load.is_over() for load in chosen), longest, "the end of all loads")


@contextmanager
def _deployed(oracle: Oracle, chosen: Sequence[Load]) -> Iterator[None]:
    """A Deployment of one Ready pod for each, whose replicas are noted, and its metrics."""
    cluster, by_name = oracle.cluster, {load.name: load for load in chosen}
    usages = {
        load.name: Usage(load.sessions(), ASSUMED.cpu_per_session, load.window, load.looks)
        for load in chosen
        if load.window is not None
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
    cluster.node.ready_after = LEAD_TIME
    # The controller trusts the first samples of a pod no sooner.
    time.sleep(max((load.window or 0.0 for load in chosen), default=0.0))
    deployments, pods = cluster.apps.list_namespaced_deployment, cluster.core.list_namespaced_pod
    with watching(deployments, NAMESPACE, note), watching(pods, NAMESPACE, see):
        yield


def simulated(load: Load, sync_period: float = SYNC_PERIOD, before: float = 0.0) -> Steps:
    """The replicas of the simulated HPA.

    before: seconds by which each of its syncs comes before one of the real controller's.
    """
    trace = Trace(load.name, load.sessions(), -before, load.seconds)
    policy = baseline(load.manifest(), load.curve.policy)
    return simulate(policy, trace, replace(ASSUMED, tick=sync_period)).timeline.desired


def baseline(manifest: Mapping[str, Any], policy: Policy) -> Policy:
    """The HPA as `--against` reads it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "hpa.yaml")
        file.write_text(yaml.safe_dump(dict(manifest)))
        return load_baseline(str(file), policy).policy


def compare(load: Load, sync_period: float = SYNC_PERIOD, before: float = 0.0) -> Distance:
    """How far the simulated HPA is from the real one while the load lasts."""
    return distance(load.real(), simulated(load, sync_period, before), 0.0, load.seconds)
