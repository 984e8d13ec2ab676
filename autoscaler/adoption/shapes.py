"""What an object of a manifest must have before anything reads it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from autoscaler.adapters.policies.scalars import shown
from autoscaler.adapters.policies.yaml import Path

# Names are part of printed commands, so nothing else may be in them.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
# A mapping of keys, a list of one shape, a pattern of a text, or a type. A key with ? may be
# missing, or nothing; * is every key.
_TEXTS = {"*": str}
_NAMED = {"name": _NAME, "namespace?": _NAME, "labels?": _TEXTS, "annotations?": _TEXTS}
_AMOUNT = (int, str)
_PROBE = {"httpGet?": {"port": _AMOUNT, "path?": str}}
_CONTEXT = {"runAsUser?": int}
_CONTAINER = {
    "name": _NAME,
    "image?": str,
    "command?": [str],
    "args?": [str],
    "env?": [{"name": str}],
    "ports?": [{"containerPort": int, "name?": str}],
    "volumeMounts?": [{"name": str, "mountPath": str}],
    "lifecycle?": {"preStop?": {"sleep?": {"seconds": int}}},
    "securityContext?": _CONTEXT,
    "readinessProbe?": _PROBE,
    "livenessProbe?": _PROBE,
    "startupProbe?": _PROBE,
    "resources?": {"requests?": {"*": _AMOUNT}, "limits?": {"*": _AMOUNT}},
}
_SELECTOR = {
    "matchLabels?": _TEXTS,
    "matchExpressions?": [{"key": str, "operator": str, "values?": [str]}],
}
_TERM = {"labelSelector?": _SELECTOR}
_APART = {
    "requiredDuringSchedulingIgnoredDuringExecution?": [_TERM],
    "preferredDuringSchedulingIgnoredDuringExecution?": [{"podAffinityTerm": _TERM}],
}
_POD = {
    "containers": [_CONTAINER],
    "initContainers?": [_CONTAINER],
    "volumes?": [{"name": str, "persistentVolumeClaim?": {"claimName": str}}],
    "terminationGracePeriodSeconds?": int,
    "securityContext?": _CONTEXT,
    "affinity?": {"podAntiAffinity?": _APART},
    "topologySpreadConstraints?": [_TERM],
}
_STRATEGY = {
    "type?": str,
    "rollingUpdate?": {"maxSurge?": _AMOUNT, "maxUnavailable?": _AMOUNT},
}
_SHAPES: Mapping[str, Any] = {
    "Deployment": {
        "metadata": _NAMED,
        "spec": {
            "replicas?": int,
            "selector": _SELECTOR,
            "strategy?": _STRATEGY,
            "template": {"metadata": {"labels": _TEXTS}, "spec": _POD},
        },
    },
    "Service": {
        "metadata": _NAMED,
        "spec": {"selector?": _TEXTS, "ports?": [{"port": int, "targetPort?": _AMOUNT}]},
    },
    "Ingress": {"metadata": _NAMED},
    "HorizontalPodAutoscaler": {"metadata": _NAMED, "spec": {"scaleTargetRef": {"name": str}}},
    "ScaledObject": {"metadata": _NAMED, "spec": {"scaleTargetRef": {"name": str}}},
    "PodDisruptionBudget": {"metadata": _NAMED, "spec": {"selector?": _SELECTOR}},
    "NetworkPolicy": {"metadata": _NAMED, "spec": {"podSelector?": _SELECTOR}},
}
_WORDS = {dict: "a mapping", list: "a list", str: "text", int: "a whole number"}


class Misshapen(NamedTuple):
    """Where an object is not what it should be, and what is expected there."""

    path: Path
    expected: str


def present(value: Any) -> Any:
    """Return a value without the keys that have nothing, which the API server takes as missing."""
    if isinstance(value, dict):
        return {key: present(each) for key, each in value.items() if each is not None}
    return [present(each) for each in value] if isinstance(value, list) else value


def misshapen(item: Mapping[str, Any]) -> Misshapen | None:
    """Return the first place where an object lacks what is read of it; None if there is none.

    Objects of kinds that nobody reads may have any shape.
    """
    return _wrong(item, _SHAPES.get(item["kind"], {}), ())


def _wrong(value: Any, shape: Any, path: Path) -> Misshapen | None:
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return _unlike(value, dict, path)
        keys = dict.fromkeys(value, shape["*"]) if "*" in shape else shape
        return next(filter(None, (_of_key(value, *each, path) for each in keys.items())), None)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _unlike(value, list, path)
        inner = (_wrong(each, shape[0], (*path, index)) for index, each in enumerate(value))
        return next(filter(None, inner), None)
    if isinstance(shape, re.Pattern):
        is_name = isinstance(value, str) and shape.fullmatch(value)
        wanted = f"is {shown(value)}, expected a name of lower-case letters, digits, - and ."
        return None if is_name else Misshapen(path, wanted)
    kinds = shape if isinstance(shape, tuple) else (shape,)
    is_like = isinstance(value, kinds) and not isinstance(value, bool)
    return None if is_like else _unlike(value, kinds[0], path)


def _of_key(value: Mapping[str, Any], key: str, shape: Any, path: Path) -> Misshapen | None:
    name = key.removesuffix("?")
    if value.get(name) is None and name != key:
        return None
    if value.get(name) == [] and name == key:
        return Misshapen((*path, name), "is empty, expected an item")
    return _wrong(value.get(name), shape, (*path, name))


def _unlike(value: Any, kind: type, path: Path) -> Misshapen:
    return Misshapen(path, f"is {shown(value)}, expected {_WORDS[kind]}")
