"""Kubernetes through the official client: read Deployments and pods, patch `scale`, create Events.

Everything is listed whenever it is read, with four requests per namespace, however many policies
there are; for a single policy they list only its own objects. So do commands with one pass; the
daemon watches instead (`watched_cluster`). No client exception leaves this package: `calls.ask`
makes each call.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException
from urllib3.util.retry import Retry
from yaml import YAMLError

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.kubernetes.calls import ask, one_line
from autoscaler.adapters.kubernetes.deadline import BoundedClient
from autoscaler.adapters.kubernetes.kinds import Kind, Kinds
from autoscaler.adapters.kubernetes.objects import Deployment, Objects, target
from autoscaler.adapters.kubernetes.pods import FIELD_MANAGER, Json, marks_patch, rfc3339
from autoscaler.adapters.kubernetes.store import Store
from autoscaler.errors import AutoscalerError, ClusterError, TargetNotFoundError
from autoscaler.model import PodMarks, PodState, TargetRef
from autoscaler.ports import TargetState
from exporter.texts import LONGEST_EVENT, visible

NAMESPACES_AT_ONCE = 8
# Connections kept open. The client's default is 5 per CPU; with too few, passes repeat handshakes.
CONNECTIONS = 16
# Reads the API server's cache, which is cheap but may be stale; not used to choose victims.
CACHED = {"resource_version": "0"}
# What the client raises for a kubeconfig that it cannot read, or of another shape than it expects.
INVALID = (ConfigException, OSError, ValueError, YAMLError, TypeError, LookupError, AttributeError)
COMPONENT = "bokeh-autoscaler"


class _Timed(BoundedClient):
    """A client that passes the time of each response of the API server to the daemon's clock."""

    def __init__(
        self,
        settings: client.Configuration,
        load: Callable[[client.Configuration], None],
        clock: SystemClock,
    ) -> None:
        super().__init__(settings, load)
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
        self.kinds = Kinds.of(api)

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

        def load(settings: client.Configuration) -> None:
            if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config(client_configuration=settings)
            else:
                file = None if kubeconfig is None else str(kubeconfig)
                config.load_kube_config(file, context, client_configuration=settings)

        settings = client.Configuration()
        settings.retries = Retry(0, redirect=0)
        settings.connection_pool_maxsize = CONNECTIONS
        try:
            load(settings)
        except INVALID as error:
            is_told = isinstance(error, ConfigException | OSError | YAMLError)
            reason = one_line(error) if is_told else "the kubeconfig is no object of kind Config"
            raise ClusterError(
                f"cannot connect to the Kubernetes API: {reason}; set --kubeconfig"
            ) from None
        if clock is None:
            return cls(BoundedClient(settings, load))
        return cls(_Timed(settings, load, clock))

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

    def read_target(self, ref: TargetRef) -> TargetState | AutoscalerError:
        """Return the current state of one target; `observe` lists everything anew, too."""
        return self.observe([ref])[ref]

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        """Patch the `scale` subresource, if the Deployment has not changed since `state`."""
        self.patch_scale(state, replicas, dry_run=dry_run)

    def mark_pod(self, state: TargetState, pod: PodState, marks: PodMarks) -> None:
        """Patch label and annotations of a pod; does nothing if the pod is gone."""
        self.patch_pod(state, pod, marks)

    def patch_scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> Json:
        """Do what `scale` does, and return the new Scale."""
        body = {
            "metadata": {"resourceVersion": state.resource_version},
            "spec": {"replicas": replicas},
        }
        extra = {"dry_run": "All"} if dry_run else {}
        return ask(
            ("patch", "deployments/scale", state.ref.namespace, state.ref.deployment),
            self._apps.patch_namespaced_deployment_scale,
            state.ref.deployment,
            state.ref.namespace,
            body,
            field_manager=FIELD_MANAGER,
            _content_type="application/merge-patch+json",
            **extra,
        )

    def patch_pod(self, state: TargetState, pod: PodState, marks: PodMarks) -> Json | None:
        """Do what `mark_pod` does, and return the pod as it is then."""
        namespace = state.ref.namespace
        try:
            return ask(
                ("patch", "pods", namespace, pod.name),
                self._core.patch_namespaced_pod,
                pod.name,
                namespace,
                marks_patch(pod, marks),
                field_manager=FIELD_MANAGER,
                _content_type="application/merge-patch+json",
            )
        except TargetNotFoundError:
            return None

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
        try:
            listed = self.list_targets(namespace, refs)
        except AutoscalerError as error:
            return dict.fromkeys(refs, error)
        return {ref: target(ref, listed) for ref in refs}

    def list_targets(self, namespace: str, refs: Sequence[TargetRef]) -> Objects:
        """List what targets in a namespace consist of. Raises AutoscalerError.

        Deployments and pods are read consistently.
        """
        listed, kinds, wanted = Objects.none(), self.kinds, _named(refs)
        _list(kinds.deployments, listed.deployments, namespace, **wanted)
        own = _selected(listed.deployments) if wanted else {}
        _list(kinds.replica_sets, listed.replica_sets, namespace, **CACHED, **own)
        # Pods are listed after Deployments, so they reflect every scale-down shown there.
        _list(kinds.pods, listed.pods, namespace, **own)
        _list(kinds.rivals, listed.rivals, namespace, **CACHED)
        return listed


def _list(kind: Kind, store: Store[Any], namespace: str, **options: str) -> None:
    for items, version in kind.pages(namespace, **options):  # one page, without a limit
        store.replace(map(kind.trim, items), version)


def _named(refs: Sequence[TargetRef]) -> dict[str, str]:
    """Return the options that list only the Deployment of a single target."""
    return {"field_selector": f"metadata.name={refs[0].deployment}"} if len(refs) == 1 else {}


def _selected(deployments: Store[Deployment]) -> dict[str, str]:
    """Return the options that list only pods and ReplicaSets of a single Deployment."""
    selectors = [item.value.selector for item in deployments.items()]
    return {"label_selector": selectors[0]} if len(selectors) == 1 else {}
