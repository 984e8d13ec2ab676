"""Random pods of a ReplicaSet, and of an older one of the same Deployment, as the API takes them.

Most pods are alike in most respects, so that every rule of the deletion order has to decide often.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

Json = dict[str, Any]
TIME = "%Y-%m-%dT%H:%M:%SZ"
WAVES = 4  # in which the pods are created, seconds apart
NEWEST, OLDER = "newest", "older"
MOST_PODS = (4, 6, 8, 16)  # above 12 the controller sorts by another algorithm
COSTS = (None, None, None, None, 0, -1, 100, 2**31 - 1, -(2**31), -(2**31) + 1)
READY_AGES = (2, 7, 25, 60, 70, 300, 310, 900, 3_600, 86_400)  # seconds
CONTAINER = {"name": "app", "image": "localhost/pause:1"}
# A native sidecar, whose restarts count, and a plain init container, whose restarts do not.
INIT_CONTAINERS = [
    {"name": "exporter", "image": "localhost/pause:1", "restartPolicy": "Always"},
    {"name": "setup", "image": "localhost/pause:1"},
]


@dataclass(frozen=True)
class Pod:
    """One pod to be. gone: it is terminating when the ReplicaSet shrinks."""

    name: str
    labels: Json
    wave: int
    node: str | None
    phase: str
    ready_age: int | None
    cost: int | None
    restarts: tuple[int, int, int]
    gone: bool

    @property
    def is_active(self) -> bool:
        return not self.gone and self.phase not in ("Failed", "Succeeded")

    def body(self) -> Json:
        annotations = {}
        if self.cost is not None:
            annotations["controller.kubernetes.io/pod-deletion-cost"] = str(self.cost)
        spec = {"schedulerName": "none", **template(self.labels)["spec"]}
        if self.node is not None:
            spec["nodeName"] = self.node
        return {
            "metadata": {"name": self.name, "labels": self.labels, "annotations": annotations},
            "spec": spec,
        }

    def status(self, began: datetime) -> Json:
        """What a kubelet would have reported; Ready since before `began`."""
        app, sidecar, setup = self.restarts
        ready = {"type": "Ready", "status": "False", "lastTransitionTime": began.strftime(TIME)}
        if self.ready_age is not None:
            since = (began - timedelta(seconds=self.ready_age)).strftime(TIME)
            ready |= {"status": "True", "lastTransitionTime": since}
        return {
            "status": {
                "phase": self.phase,
                "conditions": [ready],
                "containerStatuses": [_restarted("app", app)],
                "initContainerStatuses": [
                    _restarted("exporter", sidecar),
                    _restarted("setup", setup),
                ],
            }
        }


def _restarted(name: str, times: int) -> Json:
    return {
        "name": name,
        "restartCount": times,
        "image": "localhost/pause:1",
        "imageID": "",
        "ready": True,
    }


@dataclass(frozen=True)
class Population:
    """The pods of a Deployment whose newest ReplicaSet is to shrink by `remove`."""

    id: str
    pods: tuple[Pod, ...]
    older: tuple[Pod, ...]
    remove: int

    @property
    def sets(self) -> tuple[str, ...]:
        return (OLDER, NEWEST) if self.older else (NEWEST,)

    def replicas(self, which: str) -> int:
        """How many pods a ReplicaSet finds when it is made, so that it makes and removes none."""
        return sum(pod.is_active for pod in (self.pods if which == NEWEST else self.older))


def labels(population: str, which: str) -> Json:
    return {"population": population, "set": which}


def template(pod_labels: Json) -> Json:
    spec = {"containers": [CONTAINER], "initContainers": INIT_CONTAINERS}
    return {"metadata": {"labels": pod_labels}, "spec": spec}


def replica_set(population: Population, which: str, owner: Json) -> Json:
    """A ReplicaSet that adopts the pods that are there."""
    wanted = labels(population.id, which)
    return {
        "metadata": {
            "name": f"{population.id}-{which}",
            "labels": wanted,
            "ownerReferences": [owner],
        },
        "spec": {
            "replicas": population.replicas(which),
            "selector": {"matchLabels": wanted},
            "template": template(wanted),
        },
    }


def random_population(random: Random, name: str) -> Population:
    """Two pods at least that count; every third Deployment has pods of an older ReplicaSet."""
    nodes = ["a", "b", "c"][: random.randint(1, 3)]
    plain = random.random()
    count = random.randint(2, random.choice(MOST_PODS))

    def pods(number: int, which: str) -> tuple[Pod, ...]:
        where = labels(name, which)
        return tuple(
            random_pod(random, f"{name}-{which}-{i}", where, nodes, plain) for i in range(number)
        )

    newest = pods(count, NEWEST)
    while (active := sum(pod.is_active for pod in newest)) < 2:
        newest = pods(count, NEWEST)
    older = pods(random.randint(1, 6), OLDER) if random.random() < 1 / 3 else ()
    return Population(name, newest, older, random.randint(1, active - 1))


def random_pod(random: Random, name: str, pod_labels: Json, nodes: list[str], plain: float) -> Pod:
    """plain: how likely each respect is to be as it is with most pods."""

    def usual(usually: Any, *others: Any) -> Any:
        return usually if random.random() < plain else random.choice(others)

    assigned = usual(True, True, True, False)
    phase = usual("Running", "Running", "Running", "Pending", "Unknown", "Failed", "Succeeded")
    ready_age = usual(READY_AGES[4], None, *READY_AGES)
    return Pod(
        name=name,
        labels=pod_labels,
        wave=random.randrange(WAVES),
        node=random.choice(nodes) if assigned else None,
        phase=phase if assigned else "Pending",
        ready_age=ready_age if assigned and phase in ("Running", "Unknown") else None,
        cost=usual(None, *COSTS),
        restarts=(usual(0, 0, 1, 5), usual(0, 0, 1, 5), usual(0, 0, 1, 5)),
        # A pod without a node is gone at once when it is deleted.
        gone=assigned and usual(False, False, False, False, True),
    )


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
