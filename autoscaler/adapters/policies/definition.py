"""The CustomResourceDefinition of a ScalingPolicy, made from the models of a policy.

The API server accepts structural schemas only: no references, and no alternatives of different
types. A value that may have different types is left to the daemon, which checks all of it anyway,
fills in the defaults itself, and tells what is wrong in the object's status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from autoscaler.adapters.policies.resource import GROUP, KIND, PLURAL, VERSION
from autoscaler.policy import Policy
from autoscaler.policy.fields import Label

Schema = dict[str, Any]
# What a structural schema may say of a value, besides what it consists of.
_KEPT = (
    *("description", "type", "enum", "pattern", "minimum", "maximum"),
    *("minLength", "maxLength", "minItems", "maxItems", "required"),
)
_ANYTHING: Schema = {"x-kubernetes-preserve-unknown-fields": True}
_OF_THE_OBJECT = {"name"}
# The API server allows dots, which no name of a policy has.
_NAME = TypeAdapter(Label).json_schema()
_COLUMNS = (
    ("Target", "string", ".spec.target.deployment", "Deployment that is scaled."),
    ("Replicas", "integer", ".status.replicas", "Replicas of the Deployment."),
    ("Desired", "integer", ".status.desiredReplicas", "Replicas that the daemon decided on."),
    ("Users", "integer", ".status.users", "Sessions with a connection."),
    ("Reason", "string", ".status.reason", "Reason of the last decision, or of its failure."),
    (
        "Valid",
        "string",
        '.status.conditions[?(@.type=="Valid")].status',
        "Whether it is active.",
    ),
    ("Age", "date", ".metadata.creationTimestamp", "Time since it was created."),
)


def definition() -> Schema:
    """Return the CustomResourceDefinition as plain values."""
    names = {"kind": KIND, "listKind": f"{KIND}List", "plural": PLURAL, "singular": KIND.lower()}
    columns = [
        {"name": name, "type": kind, "jsonPath": path, "description": words}
        for name, kind, path, words in _COLUMNS
    ]
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": _object_schema()},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": names,
            "versions": [version],
        },
    }


def _object_schema() -> Schema:
    model = Policy.model_json_schema(by_alias=True)
    spec = _structural(model, model["$defs"])
    spec["properties"] = {
        key: each for key, each in spec["properties"].items() if key not in _OF_THE_OBJECT
    }
    spec["required"] = [key for key in spec["required"] if key not in _OF_THE_OBJECT]
    spec["properties"]["target"]["required"] = ["deployment"]
    words = "A scaling policy of bokeh-autoscaler for a Deployment in the same namespace."
    return {
        "type": "object",
        "description": words,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": _NAME}},
            "spec": spec,
            "status": _STATUS,
        },
    }


def _structural(schema: Mapping[str, Any], defined: Mapping[str, Any]) -> Schema:
    """Return a schema without references and alternatives, at most wider than it was."""
    if "$ref" in schema:
        target = defined[schema["$ref"].rpartition("/")[2]]
        return _structural({**target, **{k: v for k, v in schema.items() if k != "$ref"}}, defined)
    choices = [each for each in _choices(schema) if each.get("type") != "null"]
    if choices:
        return _one_of(schema, [_structural(each, defined) for each in choices])
    kept = {key: schema[key] for key in _KEPT if key in schema}
    if isinstance(schema.get("type"), list):
        return _described(schema) | _ANYTHING
    if "const" in schema:
        kept["enum"] = [schema["const"]]
    if "items" in schema:
        kept["items"] = _structural(schema["items"], defined)
    if "properties" in schema:
        kept["properties"] = {
            key: _structural(each, defined) for key, each in schema["properties"].items()
        }
    return kept


def _choices(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*schema.get("anyOf", ()), *schema.get("oneOf", ())]


def _one_of(schema: Mapping[str, Any], choices: list[Schema]) -> Schema:
    """Return what holds for each of the alternatives; objects have the keys of all of them."""
    if len(choices) == 1:
        return choices[0] | _described(schema)
    if any(each.get("type") != "object" for each in choices):
        return _described(schema) | _ANYTHING
    required = set.intersection(*(set(each.get("required", ())) for each in choices))
    properties: Schema = {}
    for choice in choices:
        for key, each in choice["properties"].items():
            properties[key] = _either(properties[key], each) if key in properties else each
    both = {"type": "object", "required": sorted(required), "properties": properties}
    return _described(schema) | both


def _either(one: Schema, other: Schema) -> Schema:
    """Return what holds for both values of a key that two objects have."""
    if "enum" in one and "enum" in other:
        return one | {"enum": list(dict.fromkeys([*one["enum"], *other["enum"]]))}
    return one if one == other else _described(one) | _ANYTHING


def _described(schema: Mapping[str, Any]) -> Schema:
    return {"description": schema["description"]} if "description" in schema else {}


_CONDITION = {
    "type": "object",
    "required": ["type", "status", "reason", "message", "lastTransitionTime"],
    "properties": {
        "type": {"type": "string"},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": {"type": "string"},
        "message": {"type": "string"},
        "observedGeneration": {"type": "integer", "format": "int64"},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
    },
}
_STATUS = {
    "type": "object",
    "description": "What the leading daemon sees and decides.",
    "properties": {
        "observedGeneration": {
            "type": "integer",
            "format": "int64",
            "description": "Generation of the spec that the conditions are about.",
        },
        "replicas": {"type": "integer", "description": "Replicas of the Deployment."},
        "desiredReplicas": {"type": "integer", "description": "Replicas decided on."},
        "users": {"type": "integer", "description": "Sessions with a connection."},
        "reason": {"type": "string", "description": "Reason of the last decision, or failure."},
        "message": {"type": "string", "description": "The same in words."},
        "conditions": {
            "type": "array",
            "description": "Valid: the spec is active. ScalingActive: the target is scaled.",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": _CONDITION,
        },
    },
}
