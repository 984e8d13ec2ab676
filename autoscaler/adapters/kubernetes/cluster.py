"""Kubernetes through the official client: read Deployments and pods, patch `scale`, create Events.

A pass makes four list requests per namespace, however many policies there are; for a single policy
they list only its own objects. No client exception leaves this module: `calls.ask` makes each call.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException
from urllib3.util.retry import Retry

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.kubernetes.calls import ask, one_line
from autoscaler.adapters.kubernetes.deadline import BoundedClient
from autoscaler.adapters.kubernetes.pods import (
    FIELD_MANAGER,
    ROUTABLE,
    Json,
    label_selector,
    marks_patch,
    owner,
    pod_state,
    replicas_writer,
    rfc3339,
    selects_by,
)
from autoscaler.errors import AutoscalerError, ClusterError, TargetNotFoundError
from autoscaler.model import PodMarks, PodState, TargetRef
from autoscaler.ports import TargetState
from exporter.texts import LONGEST_EVENT, visible

NAMESPACES_AT_ONCE = 8
# Connections kept open. The client's default is 5 per CPU; with too few, passes repeat handshakes.
CONNECTIONS = 16
# Reads the API server's cache, which is cheap but may be stale; not used to choose victims.
CACHED = {"resource_version": "0"}
COMPONENT = "bokeh-autoscaler"


class _Timed(BoundedClient):
    """A client that passes the time of each response of the API server to the daemon's clock."""

    def __init__(self, settings: client.Configuration, clock: SystemClock) -> None:
        super().__init__(settings)
        self._clock = clock

    def call_api(self, *args: Any, **kw: Any) -> Any:
        """Make any request."""
        sent = self._clock.steady()
        answer = super().call_api(*args, **kw)
        self._clock.hear(sent, answer.getheader("Date"))
        return answer


class KubernetesCluster:
    """Implements `ports.Cluster`."""

    def __init__(self, api: client.ApiClient) -> None:
        self.api = api
        self._apps = client.AppsV1Api(api)
        self._core = client.CoreV1Api(api)
        self._autoscaling = client.AutoscalingV2Api(api)

    @classmethod
    def connect(
        cls,
        kubeconfig: Path | None = None,
        context: str | None = None,
        clock: SystemClock | None = None,
    ) -> KubernetesCluster:
        """Connect with a kubeconfig, or with the pod's own ServiceAccount. Raises ClusterError.

        clock: receives the time of each response.
        """
        settings = client.Configuration()
        settings.retries = Retry(0, redirect=0)
        settings.connection_pool_maxsize = CONNECTIONS
        try:
            if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config(client_configuration=settings)
            else:
                file = None if kubeconfig is None else str(kubeconfig)
                config.load_kube_config(file, context, client_configuration=settings)
        except (ConfigException, OSError, ValueError) as error:
            raise ClusterError(
                f"cannot connect to the Kubernetes API: {one_line(error)}; set --kubeconfig"
            ) from None
        return cls(BoundedClient(settings) if clock is None else _Timed(settings, clock))

    def observe(
        self, refs: Iterable[TargetRef]
    ) -> Mapping[TargetRef, TargetState | AutoscalerError]:
        """Return the current state of every target, or why it cannot be read."""
        by_namespace: dict[str, list[TargetRef]] = {}
        for ref in refs:
            by_namespace.setdefault(ref.namespace, []).append(ref)
        if not by_namespace:
            return {}
        with ThreadPoolExecutor(min(NAMESPACES_AT_ONCE, len(by_namespace))) as pool:
            parts = pool.map(self._observe_namespace, by_namespace, by_namespace.values())
            return {ref: state for part in parts for ref, state in part.items()}

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        """Patch the `scale` subresource, if the Deployment has not changed since `state`."""
        body = {
            "metadata": {"resourceVersion": state.resource_version},
            "spec": {"replicas": replicas},
        }
        extra = {"dry_run": "All"} if dry_run else {}
        ask(
            ("patch", "deployments/scale", state.ref.namespace, state.ref.deployment),
            self._apps.patch_namespaced_deployment_scale,
            state.ref.deployment,
            state.ref.namespace,
            body,
            field_manager=FIELD_MANAGER,
            _content_type="application/merge-patch+json",
            **extra,
        )

    def mark_pod(self, state: TargetState, pod: PodState, marks: PodMarks) -> None:
        """Patch label and annotations of a pod; does nothing if the pod is gone."""
        namespace = state.ref.namespace
        try:
            ask(
                ("patch", "pods", namespace, pod.name),
                self._core.patch_namespaced_pod,
                pod.name,
                namespace,
                marks_patch(pod, marks),
                field_manager=FIELD_MANAGER,
                _content_type="application/merge-patch+json",
            )
        except TargetNotFoundError:
            return

    def announce(
        self, ref: TargetRef, uid: str, reason: str, message: str, *, warning: bool
    ) -> None:
        """Create an Event, which `kubectl describe deployment` shows."""
        namespace, name = ref
        now = rfc3339(time.time())
        event = {
            "metadata": {"name": f"{name[:200]}.{secrets.token_hex(8)}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": name,
                "namespace": namespace,
                "uid": uid,
            },
            "reason": reason,
            "message": visible(message, LONGEST_EVENT),
            "type": "Warning" if warning else "Normal",
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": os.environ.get("HOSTNAME", COMPONENT)[:128],
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        create = self._core.create_namespaced_event
        ask(("create", "events", namespace, name), create, namespace, event)

    def _observe_namespace(
        self, namespace: str, refs: Sequence[TargetRef]
    ) -> dict[TargetRef, TargetState | AutoscalerError]:
        wanted = _named(refs)
        try:
            deployments = self._list(
                "deployments", self._apps.list_namespaced_deployment, namespace, **wanted
            )
            own = _selected(deployments) if wanted else {}
            sets = self._list(
                "replicasets", self._apps.list_namespaced_replica_set, namespace, **CACHED, **own
            )
            # Pods are listed after Deployments, so they reflect every scale-down shown there.
            pods = self._list("pods", self._core.list_namespaced_pod, namespace, **own)
            list_rivals = self._autoscaling.list_namespaced_horizontal_pod_autoscaler
            rivals = self._list("horizontalpodautoscalers", list_rivals, namespace, **CACHED)
        except AutoscalerError as error:
            return dict.fromkeys(refs, error)
        by_name = {item["metadata"]["name"]: item for item in deployments}
        own_sets, own_pods = _by_owner(sets), _by_owner(pods)
        found = {ref: _target(ref, by_name.get(ref.deployment), own_sets, own_pods) for ref in refs}
        return {ref: _beside(state, rivals) for ref, state in found.items()}

    def _list(
        self, what: str, call: Callable[..., Any], namespace: str, **options: str
    ) -> list[Json]:
        answer = ask(("list", what, namespace, ""), call, namespace, **options)
        items: list[Json] = answer.get("items") or []
        return items


def _named(refs: Sequence[TargetRef]) -> dict[str, str]:
    """Return the options that list only the Deployment of a single target."""
    return {"field_selector": f"metadata.name={refs[0].deployment}"} if len(refs) == 1 else {}


def _selected(deployments: Sequence[Json]) -> dict[str, str]:
    """Return the options that list only pods and ReplicaSets of a single Deployment."""
    selectors = [label_selector(each["spec"]["selector"]) for each in deployments]
    return {"label_selector": selectors[0]} if len(selectors) == 1 else {}


def _by_owner(items: Iterable[Json]) -> Mapping[str | None, Sequence[Json]]:
    """Group objects by their owner, once for all Deployments of the namespace."""
    groups: defaultdict[str | None, list[Json]] = defaultdict(list)
    for item in items:
        groups[owner(item)].append(item)
    return groups


def _target(
    ref: TargetRef,
    deployment: Json | None,
    sets: Mapping[str | None, Sequence[Json]],
    pods: Mapping[str | None, Sequence[Json]],
) -> TargetState | AutoscalerError:
    """Join a Deployment with the pods of its ReplicaSets; a matching label is not enough."""
    if deployment is None:
        return TargetNotFoundError(
            f"there is no Deployment {ref.deployment} in namespace {ref.namespace}; create it, or "
            "change the target of the policy"
        )
    meta, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
    own_sets = sets.get(meta["uid"], ())
    own_pods = [pod for each in own_sets for pod in pods.get(each["metadata"]["uid"], ())]
    states: Iterable[PodState] = map(pod_state, own_pods)
    if selects_by(spec["selector"], ROUTABLE):  # without the label a pod would lose its owner
        states = (replace(pod, labelled=False) for pod in states)
    return TargetState(
        ref=ref,
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        replicas=spec.get("replicas", 1),
        status_replicas=status.get("replicas", 0),
        pods=tuple(states),
        rollout_in_progress=rolling_out(deployment, own_sets),
        paused=bool(spec.get("paused")),
        replicas_writer=replicas_writer(deployment),
    )


def _beside(
    state: TargetState | AutoscalerError, autoscalers: Sequence[Json]
) -> TargetState | AutoscalerError:
    """Return the target with the HPA that scales it too, if any; KEDA creates one as well."""
    if isinstance(state, AutoscalerError):
        return state
    wanted = {"kind": "Deployment", "name": state.ref.deployment}
    for item in autoscalers:
        scaled = item["spec"]["scaleTargetRef"]
        if wanted.items() <= scaled.items():
            return replace(
                state, other_autoscaler=f"HorizontalPodAutoscaler {item['metadata']['name']}"
            )
    return state


def rolling_out(deployment: Json, sets: Sequence[Json]) -> bool:
    """Return whether pods of two templates exist, or the controller has not seen the spec yet.

    A change of the replica count alone is not a rollout.
    """
    status = deployment.get("status") or {}
    if deployment["metadata"].get("generation", 0) > status.get("observedGeneration", 0):
        return True
    if status.get("updatedReplicas", 0) < status.get("replicas", 0):
        return True
    live = [s for s in sets if s["spec"].get("replicas") or (s.get("status") or {}).get("replicas")]
    return len(live) > 1
