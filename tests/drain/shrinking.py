"""Has the real ReplicaSet controller shrink many populations at once, and says who went.

The pods exist first and their ReplicaSets adopt them, so each pod can be different. The Deployments
that own the ReplicaSets are real objects; their controller does not run, for it would share a
shrink among the ReplicaSets by rules of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from autoscaler.adapters.kubernetes.pods import pod_state
from autoscaler.model import PodState
from tests.drain.populations import NEWEST, OLDER, WAVES, Json, Population, now, replica_set
from tests.lab.access import Access, raw
from tests.lab.processes import wait_until

CONTROLLERS = {
    "controllers": "replicaset-controller,serviceaccount-controller",
    "concurrent_replicaset_syncs": 20,
}
POLL = 0.3  # seconds between two looks at all the ReplicaSets, which cost the API server 0.1
WRITERS = 8
APART = 1.5  # seconds from one wave of pods to the next, at least
WITHIN = 60.0
Pods = dict[tuple[str, str], list[PodState]]


class Shrinking:
    """Populations in one namespace of an API server with a ReplicaSet controller."""

    def __init__(self, access: Access, namespace: str) -> None:
        self._access = access
        self._namespace = namespace

    def outcomes(self, populations: Sequence[Population]) -> list[Json]:
        """Each as in tests/core/data/victim_cases.yaml: who was there, and who was deleted."""
        self._create_pods(populations)
        self._create_sets(populations)
        wait_until(lambda: self._adopted(populations), WITHIN, "the ReplicaSets to adopt the pods")
        before = self._pods()
        shrunk = self._side_by_side(self._scale_down, populations)
        wait_until(lambda: self._shrunk(populations), WITHIN, "the ReplicaSets to shrink")
        took = time.time() - min(shrunk)
        after = {pod.uid for pods in self._pods().values() for pod in pods if pod.is_active}
        return [
            _outcome(population, before, after, at, took)
            for population, at in zip(populations, shrunk, strict=True)
        ]

    def _create_pods(self, populations: Sequence[Population]) -> None:
        """Wave after wave: creation times are real, so they are seconds apart."""
        core, namespace = self._access.core, self._namespace
        began = now()
        for wave in range(WAVES):
            ends = time.monotonic() + APART

            def create(pod: Any) -> None:
                raw(core.create_namespaced_pod, namespace, pod.body())
                patch = core.patch_namespaced_pod_status
                raw(patch, pod.name, namespace, pod.status(began))
                if pod.gone:
                    raw(core.delete_namespaced_pod, pod.name, namespace)

            every = [pod for each in populations for pod in (*each.pods, *each.older)]
            self._side_by_side(create, [pod for pod in every if pod.wave == wave])
            time.sleep(max(0.0, ends - time.monotonic()))

    def _create_sets(self, populations: Sequence[Population]) -> None:
        self._side_by_side(self._create_deployment, populations)

    def _create_deployment(self, population: Population) -> None:
        apps, namespace = self._access.apps, self._namespace
        older = replica_set(population, OLDER, {})
        body = {
            "metadata": {"name": population.id},
            "spec": {
                "selector": {"matchLabels": {"population": population.id}},
                "template": older["spec"]["template"],
            },
        }
        created = raw(apps.create_namespaced_deployment, namespace, body)
        owner = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": population.id,
            "uid": created["metadata"]["uid"],
            "controller": True,
        }
        for which in population.sets:
            raw(
                apps.create_namespaced_replica_set,
                namespace,
                replica_set(population, which, owner),
            )

    def _scale_down(self, population: Population) -> float:
        """Unix seconds just before."""
        at = time.time()
        scale = {"spec": {"replicas": population.replicas(NEWEST) - population.remove}}
        patch = self._access.apps.patch_namespaced_replica_set_scale
        raw(patch, f"{population.id}-{NEWEST}", self._namespace, scale)
        return at

    def _adopted(self, populations: Sequence[Population]) -> bool:
        found = self._replicas()
        return all(
            found.get(f"{each.id}-{which}") == each.replicas(which)
            for each in populations
            for which in each.sets
        )

    def _shrunk(self, populations: Sequence[Population]) -> bool:
        found = self._replicas()
        return all(
            found[f"{each.id}-{NEWEST}"] == each.replicas(NEWEST) - each.remove
            for each in populations
        )

    def _replicas(self) -> dict[str, int]:
        """Of each ReplicaSet whose controller has seen its latest number."""
        time.sleep(POLL)
        listed = raw(self._access.apps.list_namespaced_replica_set, self._namespace)
        return {
            item["metadata"]["name"]: item["status"]["replicas"]
            for item in listed["items"]
            if item["status"].get("observedGeneration") == item["metadata"]["generation"]
        }

    def _pods(self) -> Pods:
        """By population and ReplicaSet, as the product reads them."""
        found: Pods = {}
        for item in raw(self._access.core.list_namespaced_pod, self._namespace)["items"]:
            where = item["metadata"]["labels"]
            found.setdefault((where["population"], where["set"]), []).append(pod_state(item))
        return found

    def _side_by_side(self, work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        with ThreadPoolExecutor(WRITERS) as pool:
            return list(pool.map(work, items))


def _outcome(population: Population, before: Pods, after: set[str], at: float, took: float) -> Json:
    pods = before[population.id, NEWEST]
    return {
        "id": population.id,
        "remove": population.remove,
        "now": _time(at),
        "within": round(took, 1),
        "pods": [_row(pod) for pod in pods],
        "related": [_row(pod) for pod in before.get((population.id, OLDER), ())],
        "deleted": [pod.name for pod in pods if pod.is_active and pod.uid not in after],
    }


def _row(pod: PodState) -> Json:
    return {
        "name": pod.name,
        "uid": pod.uid,
        "assigned": bool(pod.node),
        "node": pod.node or None,
        "phase": pod.phase,
        "ready": pod.ready is True,
        "ready_since": _time(pod.ready_since) if pod.ready else None,
        "created": _time(pod.created_at),
        "cost": pod.deletion_cost,
        "restarts": pod.restarts,
        "sidecar_restarts": pod.sidecar_restarts,
        "deleting": pod.deleting,
    }


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()
