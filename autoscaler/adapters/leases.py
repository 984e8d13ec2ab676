"""Leases of coordination.k8s.io/v1: who acts in a namespace, and what the next one is to know.

Written by merge patch with the resourceVersion, so that what others keep on a Lease, such as
labels, stays, and a write in place of an unexpected version is refused.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from kubernetes import client

from autoscaler.adapters.kubernetes import ask
from autoscaler.adapters.pods import Json
from autoscaler.core.lease import DURATION, Lease
from autoscaler.errors import TargetNotFoundError

MEMORY = "bokeh-autoscaler/memory"


class KubernetesLeases:
    """Implements `leadership.Leases`. name: of the Lease in every namespace."""

    def __init__(self, api: client.ApiClient, name: str) -> None:
        self.name = name
        self._api = client.CoordinationV1Api(api)

    def read(self, namespace: str) -> Lease | None:
        """The Lease; None: there is none. Raises ForbiddenError or ClusterError."""
        what = ("get", "leases", namespace, self.name)
        try:
            return _lease(ask(what, self._api.read_namespaced_lease, self.name, namespace))
        except TargetNotFoundError:
            return None

    def write(self, namespace: str, lease: Lease, *, taken: bool) -> Lease:
        """Create the Lease, or write it in place of its version. Raises ClusterError."""
        body = _body(self.name, lease, taken=taken)
        if not lease.version:
            create = self._api.create_namespaced_lease
            return _lease(ask(("create", "leases", namespace, self.name), create, namespace, body))
        answer = ask(
            ("patch", "leases", namespace, self.name),
            self._api.patch_namespaced_lease,
            self.name,
            namespace,
            body,
            _content_type="application/merge-patch+json",
        )
        return _lease(answer)


def _lease(found: Json) -> Lease:
    meta, spec = found["metadata"], found.get("spec") or {}
    return Lease(
        holder=spec.get("holderIdentity") or "",
        version=meta["resourceVersion"],
        duration=spec.get("leaseDurationSeconds") or DURATION,
        transitions=spec.get("leaseTransitions") or 0,
        memory=(meta.get("annotations") or {}).get(MEMORY, ""),
    )


def _body(name: str, lease: Lease, *, taken: bool) -> dict[str, Any]:
    now = micro_time(datetime.now(UTC))
    spec = {
        "holderIdentity": lease.holder,
        "leaseDurationSeconds": int(lease.duration),
        "leaseTransitions": lease.transitions,
        "renewTime": now,
    }
    metadata: dict[str, Any] = {"name": name, "annotations": {MEMORY: lease.memory}}
    if lease.version:
        metadata["resourceVersion"] = lease.version
    return {"metadata": metadata, "spec": spec | ({"acquireTime": now} if taken else {})}


def micro_time(at: datetime) -> str:
    """A MicroTime. The client drops a fraction of nothing, and the API server then refuses it."""
    return at.replace(microsecond=at.microsecond or 1).isoformat(timespec="microseconds")
