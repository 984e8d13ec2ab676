"""What the daemon must be allowed to do for one target, one request each. Pure.

Tests hold the list to the Roles in deploy/kubernetes/base/rbac.yaml and those of the component
scaling-policies.
"""

from __future__ import annotations

from typing import NamedTuple

from autoscaler.adapters.policies.resource import GROUP, PLURAL
from autoscaler.model import TargetRef


class Right(NamedTuple):
    """One request. resource: with its subresource, as a Role names it. name: "" for any."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str = ""


READ = (
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("", "pods"),
    ("autoscaling", "horizontalpodautoscalers"),
)
LEASES = ("coordination.k8s.io", "leases")


def needed(
    ref: TargetRef,
    lease_namespace: str,
    lease: str | None,
    shards: int,
    *,
    by_objects: bool = False,
) -> list[Right]:
    """Return all of them.

    lease: the name with which the daemon's Leases begin; None without leader election. by_objects:
    whether ScalingPolicies of the namespace are policies too.
    """
    namespace, name = ref
    return [
        *(Right(verb, *kind, namespace) for kind in READ for verb in ("list", "watch")),
        Right("patch", "", "pods", namespace),
        Right("patch", "apps", "deployments/scale", namespace, name),
        Right("create", "", "events", namespace),
        *([] if lease is None else _to_lead(namespace, lease_namespace, lease, shards)),
        *(_for_objects(namespace) if by_objects else []),
    ]


def _to_lead(namespace: str, lease_namespace: str, lease: str, shards: int) -> list[Right]:
    ours = [f"{lease}-daemons", *(f"{lease}-{shard}" for shard in range(shards))]
    places = [(namespace, lease), *((lease_namespace, each) for each in ours)]
    return [
        *(Right(verb, *LEASES, *place) for place in places for verb in ("get", "patch")),
        Right("create", *LEASES, lease_namespace),
    ]


def _for_objects(namespace: str) -> list[Right]:
    return [
        *(Right(verb, GROUP, PLURAL, namespace) for verb in ("list", "watch")),
        Right("patch", GROUP, f"{PLURAL}/status", namespace),
        Right("patch", "apps", "deployments/scale", namespace),
    ]
