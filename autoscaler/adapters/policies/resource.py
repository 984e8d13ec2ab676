"""Policies that are Kubernetes objects of the kind ScalingPolicy, in a file or in the cluster.

The spec is a policy without a name and without the namespace of its target: the name is that of the
object with its namespace, as in `team-a/dashboards`, and the target is in the same namespace.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from autoscaler.adapters.policies.scalars import shown
from autoscaler.adapters.policies.yaml import Document, Path, Problem, path_text

GROUP, VERSION, PLURAL, KIND = (
    "bokeh-autoscaler.io",
    "v1alpha1",
    "scalingpolicies",
    "ScalingPolicy",
)
API_VERSION = f"{GROUP}/{VERSION}"
Place = TypeVar("Place")
_NAME, _NAMESPACE = ("metadata", "name"), ("metadata", "namespace")


def is_resource(document: Document) -> bool:
    """Return whether a document is an object of this kind, of whatever version."""
    return isinstance(document.value, dict) and document.value.get("kind") == KIND


def document_of(resource: Mapping[str, Any]) -> Document:
    """Return an object of the API server as a document, which has no lines."""
    return Document(resource, MappingProxyType({(): 0}))


def place_of(resource: Mapping[str, Any]) -> pathlib.Path:
    """Return the path by which an object of the API server is told, as a file is by its own."""
    meta = resource["metadata"]
    return pathlib.Path(KIND.lower(), meta["namespace"], meta["name"])


def policy_document(document: Document) -> Document:
    """Return the policy in an object as the document of a policy file, with the same lines.

    Problems are those of the object itself; there is no policy in it if there are any.
    """
    faults = tuple(_faults(document.value, document))
    if faults:
        return document._replace(value=None, problems=(*document.problems, *faults))
    meta, spec = document.value["metadata"], document.value["spec"]
    target = {**spec["target"], "namespace": meta["namespace"]}
    value = {**spec, "name": f"{meta['namespace']}/{meta['name']}", "target": target}
    return document._replace(
        value=value,
        lines=_lines(document.lines),
        spans=_in_spec(document.spans),
        refused=frozenset(path[1:] for path in document.refused if path[:1] == ("spec",)),
    )


def path_in_resource(path: str) -> str:
    """Return where an object has what a policy file has at a path."""
    places = {"name": path_text(_NAME), "target.namespace": path_text(_NAMESPACE), "": ""}
    return places.get(path, f"spec.{path}")


def resource_of(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object in which a policy is, as plain values."""
    target = dict(policy["target"])
    namespace, name = target.pop("namespace"), policy["name"].rpartition("/")[2]
    spec = {**policy, "target": target}
    del spec["name"]
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": meta, "spec": spec}


def _lines(lines: Mapping[Path, int]) -> dict[Path, int]:
    """Return the lines of an object by where a policy file has the same."""
    moved = _in_spec(lines)
    moved.setdefault((), lines.get((), 0))
    for path, place in ((_NAME, ("name",)), (_NAMESPACE, ("target", "namespace"))):
        moved[place] = lines.get(path, moved[()])
    return moved


def _in_spec(places: Mapping[Path, Place]) -> dict[Path, Place]:
    return {path[1:]: place for path, place in places.items() if path[:1] == ("spec",)}


def _faults(value: Mapping[str, Any], document: Document) -> list[Problem]:
    """Return why an object is none that can have a policy."""

    def fault(path: Path, message: str) -> Problem:
        return Problem(document.line(path), path_text(path), message)

    if (version := value.get("apiVersion")) != API_VERSION:
        return [fault(("apiVersion",), f"got {shown(version)}, expected {API_VERSION}")]
    meta, spec = value.get("metadata"), value.get("spec")
    meta = meta if isinstance(meta, dict) else {}
    faults = [
        fault(path, f"is missing, expected {path[1]}: {example}")
        for path, example in ((_NAME, "dashboards"), (_NAMESPACE, "bokeh"))
        if not isinstance(meta.get(path[1]), str)
    ]
    if not isinstance(spec, dict) or not isinstance(spec.get("target"), dict):
        path = ("spec", "target")
        return [*faults, fault(path, "is missing, expected target: {deployment: bokeh-app}")]
    if "name" in spec:
        words = "is the name of the policy already in metadata.name, expected it only there"
        faults.append(fault(("spec", "name"), words))
    other = spec["target"].get("namespace")
    if other is not None and other != meta.get("namespace"):
        words = f"got {shown(other)}, expected the namespace of the ScalingPolicy itself"
        faults.append(fault(("spec", "target", "namespace"), words))
    return faults
