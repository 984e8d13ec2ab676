"""ScalingPolicies, the policies that are Kubernetes objects: read by a watch, told by their status.

As with files, a spec that is rejected leaves the last valid one in force. While the API server does
not answer, or the kind is no longer defined, what was seen last counts. Of several objects for one
Deployment the oldest is active, so that all daemons agree, and each of them after a restart.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from kubernetes import client

from autoscaler.adapters.kubernetes.calls import ask
from autoscaler.adapters.kubernetes.kinds import Kind
from autoscaler.adapters.kubernetes.objects import version_of
from autoscaler.adapters.kubernetes.pods import FIELD_MANAGER, Json, rfc3339
from autoscaler.adapters.kubernetes.store import Item
from autoscaler.adapters.kubernetes.watching import USUAL, Pace, Watch
from autoscaler.adapters.policies.policy_file import PolicyFile, policy_of_resource
from autoscaler.adapters.policies.resource import GROUP, PLURAL, VERSION, document_of, place_of
from autoscaler.adapters.policies.yaml import Problem
from autoscaler.errors import AutoscalerError, ForbiddenError, TargetNotFoundError
from autoscaler.model import TargetRef
from autoscaler.ports import Clock, PolicySet, ResourceStatus, ResourceVersion

# Seconds that the first pass waits for the lists.
FIRST_LISTS_WITHIN = 20.0
# Characters of the problems that a condition tells; the API server takes 32,768.
LONGEST_MESSAGE = 4_000
UNDEFINED = "apply the component scaling-policies, which defines them"


class Resource(NamedTuple):
    """An object. path: its name where files have a path. created: as the API server writes it."""

    path: Path
    version: ResourceVersion
    created: str
    content: Json


class ScalingPolicies:
    """Implements `ports.PolicyResources`.

    namespaces: where they are read; EVERYWHERE alone stands for all.
    """

    def __init__(
        self, api: client.ApiClient, namespaces: Sequence[str], clock: Clock, pace: Pace = USUAL
    ) -> None:
        self._objects = client.CustomObjectsApi(api)
        self._clock = clock
        kind = _kind(self._objects)
        self._watches = [Watch(kind, each, None, clock.steady, pace) for each in namespaces]
        for watch in self._watches:
            watch.start()
        self._until = clock.steady() + FIRST_LISTS_WITHIN
        self._known: dict[Path, Resource] = {}
        self._versions: dict[Path, ResourceVersion] = {}
        self._files: dict[Path, PolicyFile] = {}
        self._active: dict[Path, PolicyFile] = {}
        self._loaded = PolicySet()
        self._state: tuple[object, ...] = ({},)

    def load(self) -> PolicySet:
        """Return the active policies; the first time, once all have been listed."""
        for watch in self._watches:
            watch.looked.wait(max(0.0, self._until - self._clock.steady()))
        faults = {_name(watch): words for watch in self._watches if (words := _fault(watch))}
        state = (faults, *(watch.store.version for watch in self._watches))
        if state != self._state:
            found = [item.value for watch in self._watches for item in watch.store.items()]
            known = {resource.path: resource for resource in found}
            versions = {path: resource.version for path, resource in known.items()}
            if versions != self._versions or faults != self._state[0]:  # and not only a status
                self._loaded = self._load(known, faults)
            self._known, self._versions, self._state = known, versions, state
        return self._loaded

    def close(self) -> None:
        """End all watches."""
        for watch in self._watches:
            watch.stop()

    def write(self, file: str, version: ResourceVersion, status: ResourceStatus) -> None:
        """Write the status of an object, unless it says the same already. Raises ClusterError."""
        known = self._known.get(Path(file))
        if known is None or known.version.uid != version.uid:
            return
        before = known.content.get("status") or {}
        after = _status(status, version.generation, before)
        if after == before:
            return
        meta = known.content["metadata"]
        place = (meta["namespace"], PLURAL, meta["name"])
        patch = {key: after.get(key) for key in before.keys() | after.keys()}
        try:
            ask(
                ("patch", f"{PLURAL}/status", meta["namespace"], meta["name"]),
                self._objects.patch_namespaced_custom_object_status,
                GROUP,
                VERSION,
                *place,
                {"status": patch},
                field_manager=FIELD_MANAGER,
                _content_type="application/merge-patch+json",
            )
        except TargetNotFoundError:  # it was deleted meanwhile
            return

    def _load(
        self, known: Mapping[Path, Resource], faults: Mapping[str, tuple[str, ...]]
    ) -> PolicySet:
        self._files = {path: self._read(path, resource) for path, resource in known.items()}
        last = {
            path: file
            for path, file in self._active.items()
            if path in known and known[path].version.uid == self._versions[path].uid
        }
        by_age = sorted(known, key=lambda path: (known[path].created, path))
        self._active, clashes = _settled({path: self._files[path] for path in by_age}, last)
        told = [
            replace(f, problems=f.problems + clashes.get(f.path, ())) for f in self._files.values()
        ]
        active = [
            (f.name, f.policy) for path in known if (f := self._active.get(path)) and f.policy
        ]
        return PolicySet(
            tuple(policy for _, policy in active),
            {**faults, **{file.name: file.messages for file in told if file.problems}},
            {policy.name: name for name, policy in active},
            {file.name: known[file.path].version for file in told},
            all(watch.heard_at is not None for watch in self._watches),
        )

    def _read(self, path: Path, resource: Resource) -> PolicyFile:
        """Return the policy of an object, which is read again only if its spec has changed."""
        if self._versions.get(path) == resource.version:
            return self._files[path]
        return policy_of_resource(path, document_of(resource.content))


def _settled(
    current: Mapping[Path, PolicyFile], last: Mapping[Path, PolicyFile]
) -> tuple[dict[Path, PolicyFile], dict[Path, tuple[Problem, ...]]]:
    """Return the active ones, all with different targets, and why others are not active.

    current: as they are now; the first one for a target is active. last: those that were active,
    and stay so where the current one is invalid or not the first.
    """
    active: dict[Path, PolicyFile] = {}
    clashes: dict[Path, tuple[Problem, ...]] = {}
    holders: dict[TargetRef, PolicyFile] = {}
    for path, file in current.items():
        for version in (file, last.get(path)):
            if version is None or version.policy is None:
                continue
            ref = version.policy.target.ref
            if (holder := holders.setdefault(ref, version)) is version:
                active[path] = version
                break
            if version is file:
                words = f"{ref} is also the target of {holder.name}, which is older"
                clashes[path] = (Problem(0, "spec.target", f"{words}; remove one of the two"),)
    return active, clashes


def _kind(objects: client.CustomObjectsApi) -> Kind:
    def in_namespace(namespace: str, **options: Any) -> Any:
        return objects.list_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, **options)

    everywhere = partial(objects.list_cluster_custom_object, GROUP, VERSION, PLURAL)
    return Kind(PLURAL, in_namespace, everywhere, _item)


def _item(found: Json) -> Item[Resource]:
    meta = found["metadata"]
    meta.pop("managedFields", None)
    namespace, name = meta["namespace"], meta["name"]
    version = ResourceVersion(namespace, meta["uid"], meta.get("generation", 0))
    resource = Resource(place_of(found), version, meta["creationTimestamp"], found)
    return Item((namespace, name), version_of(meta), PLURAL, resource)


def _name(watch: Watch) -> str:
    """Return where problems of a watch are told, in the place of a file's name."""
    return f"{PLURAL} in " + (watch.namespace or "all namespaces")


def _fault(watch: Watch) -> tuple[str, ...]:
    """Return why nothing can be known of what a watch follows, if nothing was listed so far."""
    problem: AutoscalerError | None = watch.problem
    if problem is None:
        has_listed = watch.heard_at is not None
        return () if has_listed else (f"the first list of {PLURAL} has not ended yet",)
    if isinstance(problem, TargetNotFoundError):
        return (f"{problem}; {UNDEFINED}",)
    is_known = watch.heard_at is not None and not isinstance(problem, ForbiddenError)
    return () if is_known else (str(problem),)


def _status(status: ResourceStatus, generation: int, before: Json) -> Json:
    """Return the status as JSON; a condition that stays keeps the time of its last change."""
    is_valid = not status.problems
    words = "\n".join(status.problems) or "the spec is active"
    conditions = [_condition("Valid", is_valid, "Valid" if is_valid else "Invalid", words)]
    if status.active is not None:
        conditions.append(_condition("ScalingActive", status.active, status.reason, status.message))
    last = {each.get("type"): each for each in before.get("conditions") or ()}
    for each in conditions:
        known = last.get(each["type"]) or {}
        same = known.get("status") == each["status"] and "lastTransitionTime" in known
        each["observedGeneration"] = generation
        each["lastTransitionTime"] = known["lastTransitionTime"] if same else rfc3339(time.time())
    numbers = {
        "replicas": status.replicas,
        "desiredReplicas": status.desired,
        "users": status.users,
        "reason": status.reason or None,
        "message": status.message or None,
    }
    known_numbers = {key: value for key, value in numbers.items() if value is not None}
    return {"observedGeneration": generation, **known_numbers, "conditions": conditions}


def _condition(kind: str, holds: bool, reason: str, message: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": str(holds),
        "reason": reason or "Unknown",
        "message": message[:LONGEST_MESSAGE],
    }
