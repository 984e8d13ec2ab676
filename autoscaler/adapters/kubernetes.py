"""Kubernetes through the official client: read Deployments and pods, patch `scale`, leave Events.

Per pass and namespace four lists, however many policies there are; for one policy, of its own pods
alone. Every call has a deadline, and no client exception leaves this module: the reader gets one
line that names verb and resource.
"""

from __future__ import annotations

import json
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
from kubernetes.client.exceptions import ApiException, OpenApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from autoscaler.adapters.pods import (
    ROUTABLE,
    Json,
    label_selector,
    note_patch,
    owner,
    pod_state,
    rfc3339,
    selects_by,
)
from autoscaler.errors import (
    AutoscalerError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    RefusedError,
    TargetNotFoundError,
)
from autoscaler.model import PodNote, PodState, TargetRef
from autoscaler.ports import TargetState

CONNECT_WITHIN, ANSWER_WITHIN = 3.0, 5.0
NAMESPACES_AT_ONCE = 8
# Kept open; 5 a CPU by itself, and each that is missing costs a TLS handshake at every pass.
CONNECTIONS = 16
# From the API server's own cache: cheap, and a moment behind. Not for what a shrink rests on.
CACHED = {"resource_version": "0"}
COMPONENT = "bokeh-autoscaler"
LONGEST_MESSAGE = 1_000


class KubernetesCluster:
    """Implements `ports.Cluster`."""

    def __init__(self, api: client.ApiClient) -> None:
        self.api = api
        self._apps = client.AppsV1Api(api)
        self._core = client.CoreV1Api(api)
        self._autoscaling = client.AutoscalingV2Api(api)

    @classmethod
    def connect(
        cls, kubeconfig: Path | None = None, context: str | None = None
    ) -> KubernetesCluster:
        """By a kubeconfig, or else by the pod's own ServiceAccount. Raises ClusterError."""
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
                f"no way to the Kubernetes API: {_one_line(error)}: give --kubeconfig FILE"
            ) from None
        return cls(client.ApiClient(settings))

    def observe(
        self, refs: Iterable[TargetRef]
    ) -> Mapping[TargetRef, TargetState | AutoscalerError]:
        """The present state of every target, or why it cannot be read; a namespace at a time."""
        by_namespace: dict[str, list[TargetRef]] = {}
        for ref in refs:
            by_namespace.setdefault(ref.namespace, []).append(ref)
        if not by_namespace:
            return {}
        with ThreadPoolExecutor(min(NAMESPACES_AT_ONCE, len(by_namespace))) as pool:
            parts = pool.map(self._observe_namespace, by_namespace, by_namespace.values())
            return {ref: state for part in parts for ref, state in part.items()}

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        """Patch the `scale` subresource if the Deployment is still as it was observed."""
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
            _content_type="application/merge-patch+json",
            **extra,
        )

    def note(self, state: TargetState, pod: PodState, note: PodNote) -> None:
        """Patch label and annotations of one pod; one that is gone meanwhile needs none."""
        namespace = state.ref.namespace
        try:
            ask(
                ("patch", "pods", namespace, pod.name),
                self._core.patch_namespaced_pod,
                pod.name,
                namespace,
                note_patch(pod, note),
                _content_type="application/merge-patch+json",
            )
        except TargetNotFoundError:
            return

    def announce(self, state: TargetState, reason: str, message: str, *, warning: bool) -> None:
        """Leave an Event that `kubectl describe deployment` shows."""
        namespace, name = state.ref
        now = rfc3339(time.time())
        event = {
            "metadata": {"name": f"{name[:200]}.{secrets.token_hex(8)}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": name,
                "namespace": namespace,
                "uid": state.uid,
            },
            "reason": reason,
            "message": message[:LONGEST_MESSAGE],
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
            # After the Deployments: a shrink that they do not tell of is not in the pods either.
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
    """For one target only its own objects are listed: others of the namespace may be thousands."""
    return {"field_selector": f"metadata.name={refs[0].deployment}"} if len(refs) == 1 else {}


def _selected(deployments: Sequence[Json]) -> dict[str, str]:
    """What the pods and ReplicaSets of these Deployments have in common, if it is one."""
    selectors = [label_selector(each["spec"]["selector"]) for each in deployments]
    return {"label_selector": selectors[0]} if len(selectors) == 1 else {}


def _by_owner(items: Iterable[Json]) -> Mapping[str | None, Sequence[Json]]:
    """Grouped once: each of 100 Deployments would look through the pods of all the others."""
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
    """Join a Deployment with the pods that its own ReplicaSets own, not with look-alikes."""
    if deployment is None:
        return TargetNotFoundError(
            f"{ref}: there is no Deployment {ref.deployment} in namespace {ref.namespace}: "
            "change target in the policy, or create it"
        )
    meta, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
    own_sets = sets.get(meta["uid"], ())
    own_pods = [pod for each in own_sets for pod in pods.get(each["metadata"]["uid"], ())]
    states: Iterable[PodState] = map(pod_state, own_pods)
    if selects_by(spec["selector"], ROUTABLE):  # a pod that loses the label is not its own any more
        states = (replace(pod, labelled=False) for pod in states)
    return TargetState(
        ref=ref,
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        replicas=spec.get("replicas", 1),
        status_replicas=status.get("replicas", 0),
        pods=tuple(states),
        rollout_in_progress=rolling_out(deployment, own_sets),
    )


def _beside(
    state: TargetState | AutoscalerError, autoscalers: Sequence[Json]
) -> TargetState | AutoscalerError:
    """The target with the HPA that scales it too; KEDA's is one as well."""
    if isinstance(state, AutoscalerError):
        return state
    wanted = {"kind": "Deployment", "name": state.ref.deployment}
    for item in autoscalers:
        scaled = item["spec"]["scaleTargetRef"]
        if wanted.items() <= scaled.items():
            return replace(state, rival=f"HorizontalPodAutoscaler {item['metadata']['name']}")
    return state


def rolling_out(deployment: Json, sets: Sequence[Json]) -> bool:
    """Whether pods of two templates exist, or a spec that its controller has not seen yet.

    A mere change of the replica count is none: all pods are of the newest template.
    """
    status = deployment.get("status") or {}
    if deployment["metadata"].get("generation", 0) > status.get("observedGeneration", 0):
        return True
    if status.get("updatedReplicas", 0) < status.get("replicas", 0):
        return True
    live = [s for s in sets if s["spec"].get("replicas") or (s.get("status") or {}).get("replicas")]
    return len(live) > 1


def ask(what: tuple[str, str, str, str], call: Callable[..., Any], *args: Any, **kw: Any) -> Json:
    """One call with a deadline; its JSON. Raises only `autoscaler.errors`."""
    try:
        answer = call(
            *args, **kw, _preload_content=False, _request_timeout=(CONNECT_WITHIN, ANSWER_WITHIN)
        )
        if answer.status >= 400:
            raise _refusal(what, answer.status, answer.data)
        parsed: Json = json.loads(answer.data)
    except ApiException as error:
        raise _refusal(what, error.status or 0, (error.body or "").encode()) from None
    except (HTTPError, OpenApiException, OSError, ValueError) as error:
        raise ClusterError(f"{_words(what)}: the API does not answer: {_one_line(error)}") from None
    return parsed


def _refusal(what: tuple[str, str, str, str], status: int, body: bytes) -> AutoscalerError:
    verb, resource, namespace, name = what
    said = _message(body) or f"HTTP {status}"
    if status in (401, 403):
        cure = "check the credentials" if status == 401 else f"add {verb} on {resource} to the Role"
        return ForbiddenError(
            f"may not {verb} {resource} in namespace {namespace}: {cure} ({said})"
        )
    if status == 404:
        return TargetNotFoundError(f"{_words(what)}: {said}")
    if status == 409:
        return ConflictError(f"{namespace}/{name} was changed meanwhile: {said}")
    kind = RefusedError if 400 <= status < 500 else ClusterError
    return kind(f"{_words(what)}: HTTP {status}: {said}")


def _words(what: tuple[str, str, str, str]) -> str:
    verb, resource, namespace, name = what
    return f"{verb} {resource} {namespace}/{name}".rstrip("/")


def _message(body: bytes) -> str:
    """The API's own words, or the start of whatever answered in its place."""
    try:
        return _one_line(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return _one_line(body.decode(errors="replace"))


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:300]
