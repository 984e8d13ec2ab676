"""Files that are not policies: what they are, and which policy to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from autoscaler.adapters.policies.autoscalers import HPA, SCALED_OBJECT
from autoscaler.adapters.policies.resource import KIND
from autoscaler.adapters.policies.scalars import shown
from autoscaler.adapters.policies.yaml import Document, Path, Problem, path_text

_ONLY_DEPLOYMENTS = "the target of a policy is a Deployment"
WORKLOADS = (
    *("StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "DeploymentConfig"),
    *("Rollout", "CloneSet", "Job", "CronJob", "Pod", "ScaledJob"),
)
# Keys of a target that name another workload.
_TARGET_KEYS = {kind.lower(): kind for kind in (*WORKLOADS, "Deployment")}
_OF_CHARTS = frozenset(
    {
        *("affinity", "autoscaling", "fullnameOverride", "global", "image", "ingress"),
        *("nameOverride", "nodeSelector", "policies", "replicaCount", "resources", "service"),
        *("serviceAccount", "tolerations"),
    }
)
_OF_KUSTOMIZE = frozenset(
    {
        *("bases", "commonLabels", "components", "configMapGenerator", "generatorOptions"),
        *("helmCharts", "namePrefix", "nameSuffix", "patches", "patchesStrategicMerge"),
        *("replacements", "secretGenerator"),
    }
)
# Two patterns, because one for both would take hours for a file that has one key 20,000 times.
_OF_POLICIES = tuple(re.compile(rf"^{key}:", re.MULTILINE) for key in ("target", "metrics"))
_KIND_LINE = re.compile(r"^kind:[ \t]*[\"']?([A-Za-z]\w{0,62})[\"']?[ \t]*(#.*)?$", re.MULTILINE)
_TEMPLATE_MARKS = (("{{", "}}"), ("{%", "%}"))
_WANTED = "expected a policy with name, target, replicas and metrics"


def other_kind(document: Document) -> tuple[Problem, ...]:
    """Return the problem of a file that is not a policy: what it is and what to do; else none."""
    value = document.value
    if not isinstance(value, dict) or "target" in value:
        return ()
    for key, inner in value.items():
        if isinstance(inner, dict) and {"target", "metrics"} <= inner.keys():
            message = "holds a policy, expected its keys at the top level of the file"
            return (Problem(document.line((key,)), path_text((key,)), message),)
    if isinstance(value.get("kind"), str):
        found = objects(value)
        return tuple(fault for each, path in found for fault in _problems(each, path, document))
    if _OF_KUSTOMIZE & value.keys() or isinstance(value.get("resources"), list):
        return (Problem(1, "", f"looks like a file of kustomize, {_WANTED}"),)
    if len(_OF_CHARTS & value.keys()) > 1 or isinstance(value.get("policies"), list):
        return (Problem(1, "", _values_of_a_chart(value)),)
    return ()


def template_in_text(text: str) -> Problem | None:
    """Return the problem of a text that is not valid YAML if it is a template; else None."""
    for line, words in enumerate(text.split("\n"), 1):
        if mark := _template_mark(words):
            message = "is a template, expected plain values; check the rendered text, such as"
            return Problem(line, "", f"{shown(mark)} {message} that of `helm template`")
    return None


def kind_in_text(text: str) -> tuple[Problem, ...]:
    """Return the problem of a text that is not valid YAML if its kind is recognized; else none."""
    if template := template_in_text(text):
        return (template,)
    if (found := _KIND_LINE.search(text)) and found[1] != KIND:
        line = text.count("\n", 0, found.start()) + 1
        return (Problem(line, "kind", f"is a {found[1]}, {_WANTED}"),)
    return ()


def _template_mark(line: str) -> str:
    """Return the first `{{...}}` or `{%...%}` of a line that is not a comment, or ""."""
    if line.lstrip(" \t").startswith("#"):
        return ""
    found = []
    for opening, closing in _TEMPLATE_MARKS:
        start = line.find(opening)
        end = line.find(closing, start + len(opening))
        if start >= 0 and end >= 0:
            found.append((start, line[start : end + len(closing)]))
    return min(found)[1] if found else ""


def other_target(document: Document) -> Problem | None:
    """Return the problem of a target that names another workload or uses other keys."""
    target = document.value.get("target") if isinstance(document.value, dict) else None
    if not isinstance(target, dict):
        return None
    kind, name = target.get("kind"), target.get("name")
    if not isinstance(kind, str):
        key = next((key for key in target if key.lower() in _TARGET_KEYS), "deployment")
        if key == "deployment":
            return None
        kind, name = _TARGET_KEYS[key.lower()], target[key]
    wanted = f"expected deployment: {name if isinstance(name, str) else 'bokeh-app'}"
    message = f"got a {shown(kind)[1:-1]}, {wanted} ({_ONLY_DEPLOYMENTS})"
    if kind == "Deployment":
        message = f"{wanted} instead of kind and name"
    return Problem(document.line(("target",)), "target", message)


def objects(value: Any, path: Path = ()) -> Iterator[tuple[dict[str, Any], Path]]:
    """Yield a Kubernetes object, or each object of a list of them, with its path."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str):
        return
    items = value.get("items")
    if kind.endswith("List") and isinstance(items, list) and items:
        own = kind.removesuffix("List")  # the items of a HorizontalPodAutoscalerList name no kind
        for index, item in enumerate(items):
            if isinstance(item, dict):
                yield from objects({"kind": own, **item}, (*path, "items", index))
        return
    yield value, path


def _problems(value: Mapping[str, Any], path: Path, document: Document) -> Iterator[Problem]:
    """Yield the problems of a Kubernetes object."""
    kind = value["kind"]
    inside = _policies_inside(value) if kind == "ConfigMap" else ()
    for key in inside:
        place = (*path, "data", key)
        message = "is a policy inside a ConfigMap, expected the policy alone in a file"
        yield Problem(document.line(place), path_text(place), message)
    if not inside:
        place = (*path, "kind")
        message = _KINDS.get(kind, _any_object)(value)
        yield Problem(document.line(place), path_text(place), message)


def _policies_inside(value: Any) -> tuple[str, ...]:
    """Return the keys of a ConfigMap whose texts look like policies."""
    data = value.get("data")
    texts = data.items() if isinstance(data, dict) else ()
    return tuple(key for key, text in texts if isinstance(text, str) and _is_policy(text))


def _is_policy(text: str) -> bool:
    return all(pattern.search(text) for pattern in _OF_POLICIES)


def _workload(value: Mapping[str, Any]) -> str:
    return f"is a {value['kind']}, {_WANTED}; {_ONLY_DEPLOYMENTS}, so run the app as one"


def _deployment(value: Mapping[str, Any]) -> str:
    meta = value.get("metadata")
    name = meta.get("name") if isinstance(meta, dict) else None
    example = name if isinstance(name, str) else "bokeh-app"
    return f"is a Deployment, {_WANTED}; name it in the target, as in deployment: {example}"


def _autoscaler(value: Mapping[str, Any]) -> str:
    return f"is a {value['kind']}, expected a policy; `autoscaler convert` writes one for it"


def _resource(value: Mapping[str, Any]) -> str:
    return f"is a {value['kind']} in a list, expected it alone in a file"


def _any_object(value: Mapping[str, Any]) -> str:
    return f"is a {shown(value['kind'])[1:-1]}, {_WANTED}; {_ONLY_DEPLOYMENTS}"


def _values_of_a_chart(value: Mapping[str, Any]) -> str:
    if isinstance(value.get("policies"), list):
        return f"looks like the values of our Helm chart, {_WANTED}, such as an entry of policies"
    return f"looks like the values of a Helm chart, {_WANTED}"


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    **dict.fromkeys((HPA, SCALED_OBJECT), _autoscaler),
    "Deployment": _deployment,
    KIND: _resource,
    **dict.fromkeys(WORKLOADS, _workload),
}
