"""The policies that a daemon is given, as its ConfigMaps and the ScalingPolicies have them now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kubernetes import client

from autoscaler.adapters.kubernetes.calls import ask
from autoscaler.adapters.kubernetes.inspection import arguments
from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.adapters.policies.files import is_policy_name, settle
from autoscaler.adapters.policies.policy_file import (
    PolicyFile,
    policy_of_resource,
    read_policy_file,
)
from autoscaler.adapters.policies.resource import GROUP, PLURAL, VERSION, document_of, place_of
from autoscaler.adapters.policies.yaml import UnreadableError, parse
from autoscaler.errors import ForbiddenError, TargetNotFoundError
from autoscaler.model import TargetRef
from autoscaler.policy import Policy


class Rejected(NamedTuple):
    """A policy that is not valid. target: the Deployment that it names, as far as it can be read.

    problems: one line each, with the path that the file has in the daemon's pod.
    """

    target: TargetRef | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DaemonPolicies:
    """The policies of a daemon. sources: the objects that hold them. policies: the valid ones.

    unread: why not all of them are known, a line each.
    """

    sources: tuple[str, ...] = ()
    policies: tuple[Policy, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[TargetRef, ...]:
        """The Deployments that valid policies name."""
        return tuple(policy.target.ref for policy in self.policies)


class DaemonPoliciesReader:
    """Reads with the rights of whoever runs the command.

    Requests raise AutoscalerError if the API server does not answer; what it refuses is `unread`.
    """

    def __init__(self, api: client.ApiClient) -> None:
        self._core: Any = client.CoreV1Api(api)
        self._custom: Any = client.CustomObjectsApi(api)

    def read(self, daemon: Json, namespace: str) -> DaemonPolicies:
        """Return the policies of a daemon's Deployment which may concern a namespace."""
        sources: dict[str, None] = {}
        unread: list[str] = []
        texts: dict[Path, str] = {}
        for path in map(Path, arguments(daemon, "--policies")):
            maps = dict(config_maps(daemon, path))
            if not maps:
                unread.append(f"the policies of the daemon: {path} is not from a ConfigMap")
            for name, mount in maps.items():
                place = daemon["metadata"]["namespace"], name
                sources[f"ConfigMap {place[0]}/{name}"] = None
                try:
                    data = self._data(*place)
                except ForbiddenError as error:
                    unread.append(f"the policies of the daemon: {error}")
                else:
                    texts |= policy_texts(data, mount, path)
        read = arguments(daemon, "--scaling-policies")
        objects: list[Json] = []
        if not {namespace, "*"}.isdisjoint(read):
            sources[f"the ScalingPolicies of namespace {namespace}"] = None
            try:
                objects = self._objects(namespace)
            except ForbiddenError as error:
                unread.append(f"the policies of the daemon: {error}")
        return policies_of(texts, objects, tuple(sources), tuple(unread))

    def _data(self, namespace: str, name: str) -> Mapping[str, str]:
        """Return the texts of a ConfigMap; none if it is not there. Raises ForbiddenError."""
        what = ("get", "configmaps", namespace, name)
        try:
            found = ask(what, self._core.read_namespaced_config_map, name, namespace)
        except TargetNotFoundError:
            return {}
        return found.get("data") or {}

    def _objects(self, namespace: str) -> list[Json]:
        what = ("list", PLURAL, namespace, "")
        call = self._custom.list_namespaced_custom_object
        try:
            found = ask(what, call, GROUP, VERSION, namespace, PLURAL)
        except TargetNotFoundError:  # the kind is not defined
            return []
        return list(found.get("items") or ())


def config_maps(daemon: Json, path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the ConfigMaps that a pod of a Deployment has at a path, and where they are mounted."""
    spec = daemon["spec"]["template"]["spec"]
    volumes = {each["name"]: each for each in spec.get("volumes") or ()}
    for container in spec["containers"]:
        for mount in container.get("volumeMounts") or ():
            place = Path(mount["mountPath"])
            volume = volumes.get(mount["name"])
            if volume and path.is_relative_to(place) and not mount.get("subPath"):
                sources = (volume.get("projected") or {}).get("sources") or (volume,)
                for each in sources:
                    if name := (each.get("configMap") or {}).get("name"):
                        yield name, place


def policy_texts(data: Mapping[str, str], mount: Path, path: Path) -> dict[Path, str]:
    """Return the policy files at a path, which is a mounted ConfigMap or a file of it."""
    return {
        mount / key: text
        for key, text in data.items()
        if path == mount / key or (path == mount and is_policy_name(key))
    }


def policies_of(
    texts: Mapping[Path, str],
    objects: list[Json],
    sources: tuple[str, ...],
    unread: tuple[str, ...] = (),
) -> DaemonPolicies:
    """Return what files and ScalingPolicies name, as a daemon that starts now reads them."""
    files = {path: read_policy_file(path, text.encode()) for path, text in texts.items()}
    active, clashes = settle(files, {})
    wrong = [
        PolicyFile(file.path, file.policy, (*file.problems, *clashes.get(path, ())))
        for path, file in files.items()
    ]
    named: dict[Path, Any] = {path: _value(text) for path, text in texts.items()}
    for each in objects:
        path = place_of(each)
        file = policy_of_resource(path, document_of(each))
        wrong.append(file)
        if file.policy is not None:
            active[path] = file
        target = (each.get("spec") or {}).get("target") or {}
        named[path] = {"target": {**target, "namespace": each["metadata"]["namespace"]}}
    return DaemonPolicies(
        sources,
        tuple(file.policy for file in active.values() if file.policy),
        tuple(Rejected(_target(named[f.path]), f.messages) for f in wrong if f.problems),
        unread,
    )


def _value(text: str) -> Any:
    try:
        return parse(text).value
    except UnreadableError:
        return None


def _target(value: Any) -> TargetRef | None:
    """Return the target of a policy that may be invalid elsewhere."""
    target = value.get("target") if isinstance(value, dict) else None
    if not isinstance(target, dict):
        return None
    namespace, deployment = target.get("namespace"), target.get("deployment")
    if isinstance(namespace, str) and isinstance(deployment, str):
        return TargetRef(namespace, deployment)
    return None
