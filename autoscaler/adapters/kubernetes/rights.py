"""What the daemon must be allowed to do for one target, one request each. Pure.

A test holds the list to the Roles in deploy/kubernetes/base/rbac.yaml.
"""

from __future__ import annotations

from typing import NamedTuple

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


def needed(ref: TargetRef, lease_namespace: str, lease: str, shards: int) -> list[Right]:
    """Return all of them. lease: the name with which the daemon's Leases begin."""
    namespace, name = ref
    ours = [f"{lease}-daemons", *(f"{lease}-{shard}" for shard in range(shards))]
    return [
        *(Right(verb, *kind, namespace) for kind in READ for verb in ("list", "watch")),
        Right("patch", "", "pods", namespace),
        Right("patch", "apps", "deployments/scale", namespace, name),
        Right("create", "", "events", namespace),
        *(Right(verb, *LEASES, namespace, lease) for verb in ("get", "patch")),
        *(
            Right(verb, *LEASES, lease_namespace, each)
            for each in ours
            for verb in ("get", "patch")
        ),
        Right("create", *LEASES, lease_namespace),
    ]
