"""The kinds that a target consists of: trimmed to what we use as soon as they arrive, and joined.

Pure: plain JSON in, our values out, whether it comes from a list, from a watch or from a patch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from sys import intern
from typing import Any, NamedTuple

from autoscaler.adapters.kubernetes.pods import (
    ROUTABLE,
    Json,
    label_selector,
    not_created,
    owner,
    pause,
    pod_state,
    replicas_writer,
    selects_by,
)
from autoscaler.adapters.kubernetes.store import Item, Key, Store
from autoscaler.errors import TargetNotFoundError
from autoscaler.model import PodState, TargetRef
from autoscaler.ports import TargetState

# The annotation by which the Deployment controller numbers the ReplicaSets of a Deployment.
REVISION = "deployment.kubernetes.io/revision"
_DIGITS = re.compile("[0-9]{1,18}")


class Deployment(NamedTuple):
    """A Deployment. selector: in the form of list requests. is_rolling: by its own status.

    pause: the words of the annotation that pauses the autoscaler; None: it does not pause.
    not_created: why Kubernetes creates no further pod; "" if it does.
    """

    uid: str
    version: str
    selector: str
    selects_routable: bool
    replicas: int
    status_replicas: int
    is_rolling: bool
    paused: bool
    pause: str | None
    replicas_writer: str
    not_created: str


class ReplicaSet(NamedTuple):
    """A ReplicaSet of a Deployment. is_live: whether it has pods or is to have some.

    revision: the higher, the newer. images: of its containers.
    """

    uid: str
    is_live: bool
    name: str = ""
    revision: int = 0
    images: str = ""


class Objects(NamedTuple):
    """All objects that are known, by kind. rivals: names of HPAs, by what they scale."""

    deployments: Store[Deployment]
    replica_sets: Store[ReplicaSet]
    pods: Store[PodState]
    rivals: Store[str]

    @classmethod
    def none(cls) -> Objects:
        """Return empty stores."""
        return cls(Store(), Store(), Store(), Store())


def deployment_item(item: Json) -> Item[Deployment]:
    """Return a Deployment, which is found by its namespace and name."""
    meta, spec, status = item["metadata"], item["spec"], item.get("status") or {}
    value = Deployment(
        uid=meta["uid"],
        version=meta["resourceVersion"],
        selector=label_selector(spec["selector"]),
        selects_routable=selects_by(spec["selector"], ROUTABLE),
        replicas=spec.get("replicas", 1),
        status_replicas=status.get("replicas", 0),
        is_rolling=is_rolling(meta, status),
        paused=bool(spec.get("paused")),
        pause=pause(meta),
        replicas_writer=replicas_writer(item),
        not_created=not_created(status),
    )
    return _item(item, key_of(item), value)


def replica_set_item(item: Json) -> Item[ReplicaSet]:
    """Return a ReplicaSet, which is found by the UID of its Deployment."""
    wanted, there = item["spec"].get("replicas"), (item.get("status") or {}).get("replicas")
    meta, template = item["metadata"], item["spec"].get("template") or {}
    containers = (template.get("spec") or {}).get("containers") or ()
    images = intern(" ".join(str(each.get("image")) for each in containers))
    revision = str((meta.get("annotations") or {}).get(REVISION, ""))
    number = int(revision) if _DIGITS.fullmatch(revision) else 0
    value = ReplicaSet(meta["uid"], bool(wanted or there), meta["name"], number, images)
    return _item(item, owner(item, "Deployment"), value)


def pod_item(item: Json) -> Item[PodState]:
    """Return a pod, which is found by the UID of its ReplicaSet."""
    return _item(item, owner(item, "ReplicaSet"), pod_state(item))


def rival_item(item: Json) -> Item[str]:
    """Return the name of an HPA, which is found by the Deployment that it scales.

    KEDA creates an HPA for each of its ScaledObjects.
    """
    scaled = item["spec"]["scaleTargetRef"]
    is_ours = scaled.get("kind") == "Deployment"
    group = (key_of(item)[0], scaled.get("name")) if is_ours else None
    return _item(item, group, item["metadata"]["name"])


def version_of(meta: Json) -> int:
    """Return the version of an object or a list; 0 if there is none. Raises ValueError.

    Kubernetes promises since 1.35 that versions are numbers that increase; they always were.
    """
    return int(meta.get("resourceVersion") or 0)


def key_of(item: Json) -> Key:
    """Return namespace and name of an object."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _item(item: Json, group: Any, value: Any) -> Item[Any]:
    return Item(key_of(item), version_of(item["metadata"]), group, value)


def is_rolling(meta: Json, status: Json) -> bool:
    """Return whether pods of two templates exist, or the controller has not seen the spec yet.

    A change of the replica count alone is not a rollout.
    """
    if meta.get("generation", 0) > status.get("observedGeneration", 0):
        return True
    return bool(status.get("updatedReplicas", 0) < status.get("replicas", 0))


def target(
    ref: TargetRef, objects: Objects, confirmed_at: float | None = None
) -> TargetState | TargetNotFoundError:
    """Join a Deployment with the pods of its ReplicaSets; a matching label is not enough.

    confirmed_at: when the objects were confirmed, if they are from a cache (Unix seconds).
    """
    found = objects.deployments.group(ref)
    if not found:
        return TargetNotFoundError(
            f"there is no Deployment {ref.deployment} in namespace {ref.namespace}; create it, or "
            "change the target of the policy"
        )
    (deployment,) = found
    sets = objects.replica_sets.group(deployment.uid)
    pods = tuple(pod for each in sets for pod in objects.pods.group(each.uid))
    if deployment.selects_routable:  # without the label a pod would lose its owner
        pods = tuple(replace(pod, labelled=False) for pod in pods)
    rivals = objects.rivals.group(ref)
    return TargetState(
        ref=ref,
        uid=deployment.uid,
        resource_version=deployment.version,
        replicas=deployment.replicas,
        status_replicas=deployment.status_replicas,
        pods=pods,
        rollout_in_progress=deployment.is_rolling or sum(each.is_live for each in sets) > 1,
        paused=deployment.paused,
        pause=deployment.pause,
        other_autoscaler=f"HorizontalPodAutoscaler {rivals[0]}" if rivals else None,
        replicas_writer=deployment.replicas_writer,
        not_created=deployment.not_created,
        confirmed_at=confirmed_at,
        same_image=_same_image(sets),
    )


def _same_image(sets: Sequence[ReplicaSet]) -> frozenset[str]:
    """Return the names of the ReplicaSets that run the images of the newest one."""
    newest = max(sets, key=lambda each: each.revision, default=None)
    return frozenset(each.name for each in sets if newest and each.images == newest.images)
