"""Leases of coordination.k8s.io/v1: the leader of a shard, and its state for the next leader.

They are written by merge patch with the resourceVersion. So other data on a Lease, such as labels,
is kept, and a write is rejected if the Lease has changed since it was read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from kubernetes import client

from autoscaler.adapters.kubernetes.calls import ask
from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.core.lease import DURATION, Lease, Place, evaluated_from, evaluated_text
from autoscaler.errors import TargetNotFoundError

STATE = "bokeh-autoscaler/state"
POLICIES = "bokeh-autoscaler/policies"


class KubernetesLeases:
    """Implements `shard_lease.Leases`."""

    def __init__(self, api: client.ApiClient, namespace: str, name: str) -> None:
        self.namespace = namespace
        self.name = name
        self._api = client.CoordinationV1Api(api)

    def read(self, place: Place) -> Lease | None:
        """Return the Lease, or None if there is none. Raises ForbiddenError or ClusterError."""
        namespace, name = place
        what = ("get", "leases", namespace, name)
        try:
            return _lease(ask(what, self._api.read_namespaced_lease, name, namespace))
        except TargetNotFoundError:
            return None

    def write(self, place: Place, lease: Lease, *, taken: bool) -> Lease:
        """Create or replace the Lease and return it. Raises ClusterError.

        taken: whether the holder is new, which sets acquireTime.
        """
        namespace, name = place
        body = _body(name, lease, taken=taken)
        if not lease.version:
            create = self._api.create_namespaced_lease
            return _lease(ask(("create", "leases", namespace, name), create, namespace, body))
        answer = ask(
            ("patch", "leases", namespace, name),
            self._api.patch_namespaced_lease,
            name,
            namespace,
            body,
            _content_type="application/merge-patch+json",
        )
        return _lease(answer)


def _lease(found: Json) -> Lease:
    meta, spec = found["metadata"], found.get("spec") or {}
    notes, holder = meta.get("annotations") or {}, spec.get("holderIdentity") or ""
    return Lease(
        holder=holder,
        version=meta["resourceVersion"],
        duration=spec.get("leaseDurationSeconds") or DURATION,
        transitions=spec.get("leaseTransitions") or 0,
        state=notes.get(STATE, ""),
        evaluated=evaluated_from(notes.get(POLICIES, ""), holder),
    )


def _body(name: str, lease: Lease, *, taken: bool) -> dict[str, Any]:
    now = micro_time(datetime.now(UTC))
    spec = {
        "holderIdentity": lease.holder,
        "leaseDurationSeconds": int(lease.duration),
        "leaseTransitions": lease.transitions,
        "renewTime": now,
    }
    notes = {STATE: lease.state, POLICIES: evaluated_text(lease)}
    metadata: dict[str, Any] = {"name": name, "annotations": notes}
    if lease.version:
        metadata["resourceVersion"] = lease.version
    return {"metadata": metadata, "spec": spec | ({"acquireTime": now} if taken else {})}


def micro_time(at: datetime) -> str:
    """Return a time as MicroTime.

    The client omits zero microseconds, which the API server rejects, so they are at least 1.
    """
    return at.replace(microsecond=at.microsecond or 1).isoformat(timespec="microseconds")
