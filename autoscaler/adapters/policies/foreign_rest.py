"""The settings of an HPA or a ScaledObject that do not say how many replicas it wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from autoscaler.adapters.policies.autoscalers import HPA, NO_NAMESPACE, Note, Settings
from autoscaler.adapters.policies.foreign_metrics import listed, part
from autoscaler.adapters.policies.scalars import shown
from autoscaler.adapters.policies.yaml import Path
from autoscaler.units import duration_text

_NO_EQUIVALENT = "has no equivalent in a policy and is left out"
_ABOUT_ZERO = "decides only about 0 replicas, which a policy never has, and is left out"
_SPEC: Mapping[str, str] = {
    "cooldownPeriod": _ABOUT_ZERO,
    "initialCooldownPeriod": _ABOUT_ZERO,
    "idleReplicaCount": f"{_ABOUT_ZERO}; the minimum applies also while nobody is there",
    "pollingInterval": (
        "applies only to 0 replicas and to `fallback`, and is left out; the daemon decides every "
        "2s (`interval`)"
    ),
}
_RESTORES = (
    "KEDA would set the replicas to those from before the ScaledObject when you delete it, which "
    "ends sessions: set it to false first"
)
_FORMULA = (
    "the formula over several triggers has no equivalent and is left out: each trigger counts for "
    "itself, and the highest number of replicas wins; write the formula as one PromQL query"
)
_OF_PROMETHEUS = "is left out: the daemon asks the Prometheus of its own --prometheus-url"
_METADATA: Mapping[str, str] = {
    "activationThreshold": _ABOUT_ZERO,
    **dict.fromkeys(("serverAddress", "authModes", "unsafeSsl", "customHeaders"), _OF_PROMETHEUS),
    "ignoreNullValues": (
        "is left out: a query without an answer is unknown here, never 0, and holds a scale-down"
    ),
}
_KNOWN = {
    HPA: {
        *("scaleTargetRef", "minReplicas", "maxReplicas", "metrics", "behavior"),
        "targetCPUUtilizationPercentage",
    },
    "ScaledObject": {
        *("scaleTargetRef", "minReplicaCount", "maxReplicaCount", "triggers", "fallback"),
        "advanced",
    },
    "trigger": {"type", "metadata", "metricType", "name"},
    # Of the triggers that have a metric in a policy.
    "prometheus": {"query", "threshold", "metricName"},
    "cpu": {"value", "type", "containerName"},
    "memory": {"value", "type", "containerName"},
}
_OF_VERSION_1 = "autoscaling.alpha.kubernetes.io/"
_PAUSED, _PAUSED_AT = "autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-replicas"
_PAUSED_SCALING = "autoscaling.keda.sh/paused-scale-"
# Seconds and failures, as KEDA has them by default.
_POLLING, _FAILURES = 30, 3
# What KEDA does while nothing can be read, and whether a policy's fallback says the same.
_FALLBACKS = {
    "static": "never lowers the replicas here, as KEDA's `static` does",
    "currentReplicasIfHigher": "",
    "currentReplicas": None,
}


class Rest(NamedTuple):
    """Further values of a policy, and what to know of those that it does not have."""

    values: Mapping[str, Any]
    notes: tuple[Note, ...]


def rest(value: Mapping[str, Any], settings: Settings) -> Rest:
    """Return what is left of an autoscaler besides what `settings` has."""
    spec = part(value, "spec")
    notes = [*_about_target(settings), *_unknown(spec, settings.kind, ("spec",), _SPEC)]
    notes += _of_version_1(value) if settings.kind == HPA else _of_keda(spec)
    values: dict[str, Any] = {}
    if settings.kind != HPA:
        for each in (_pause(value), _fallback(spec, settings)):
            values |= each.values
            notes += each.notes
    return Rest(values, tuple(notes))


def _about_target(settings: Settings) -> Iterator[Note]:
    if not settings.namespace:
        text = f"is missing: {NO_NAMESPACE} is written; set target.namespace to the Deployment's"
        yield Note(("metadata", "namespace"), text)
    if settings.low == 0:
        key = "minReplicas" if settings.kind == HPA else "minReplicaCount"
        text = "scaling to 0 replicas has no equivalent: a policy keeps at least 1"
        yield Note(("spec", key), text)


def _unknown(
    found: Mapping[str, Any], kind: str, path: Path, texts: Mapping[str, str] = {}
) -> Iterator[Note]:
    """Yield a note for each key that no policy expresses."""
    for key in found:
        if key not in _KNOWN[kind]:
            yield Note((*path, key), texts.get(key, _NO_EQUIVALENT))


def _of_version_1(value: Mapping[str, Any]) -> Iterator[Note]:
    """Yield what only an annotation says if an HPA was read as version 1."""
    for key in part(part(value, "metadata"), "annotations"):
        if key in (f"{_OF_VERSION_1}metrics", f"{_OF_VERSION_1}behavior"):
            text = "is left out: convert what `kubectl get hpa.v2.autoscaling -o yaml` prints"
            yield Note(("metadata", "annotations", key), text)


def _of_keda(spec: Mapping[str, Any]) -> Iterator[Note]:
    advanced: Path = ("spec", "advanced")
    for key, value in part(spec, "advanced").items():
        if key == "restoreToOriginalReplicaCount" and value is not False:
            yield Note((*advanced, key), _RESTORES)
        elif key == "scalingModifiers":
            yield Note((*advanced, key), _FORMULA)
        elif key not in ("restoreToOriginalReplicaCount", "horizontalPodAutoscalerConfig"):
            yield Note((*advanced, key), _NO_EQUIVALENT)
    for index, each in enumerate(listed(spec, "triggers")):
        path, kind = ("spec", "triggers", index), each.get("type")
        if kind in ("prometheus", "cpu", "memory"):
            yield from _unknown(each, "trigger", path, {"authenticationRef": _OF_PROMETHEUS})
            inside = (*path, "metadata")
            yield from _unknown(part(each, "metadata"), kind, inside, _METADATA)


def _pause(value: Mapping[str, Any]) -> Rest:
    annotations = part(part(value, "metadata"), "annotations")
    found = []
    for key, said in annotations.items():
        path: Path = ("metadata", "annotations", key)
        if key == _PAUSED and str(said).lower() != "false":
            found.append(Note(path, "the policy is paused too: remove `paused` to begin"))
        elif key == _PAUSED_AT:
            text = f"the policy is paused too and sets no replicas, {shown(said)} or others"
            found.append(Note(path, text))
        elif key.startswith(_PAUSED_SCALING) and str(said).lower() != "false":
            direction = "scaleDown" if key.endswith("in") else "scaleUp"
            text = f"{_NO_EQUIVALENT}: set behavior.{direction}.selectPolicy to Disabled"
            found.append(Note(path, text))
    pauses = any(each.path[-1] in (_PAUSED, _PAUSED_AT) for each in found)
    return Rest({"paused": True} if pauses else {}, tuple(found))


def _fallback(spec: Mapping[str, Any], settings: Settings) -> Rest:
    """Return the fallback of a policy, which begins after a time and not after some failures."""
    found, path = part(spec, "fallback"), ("spec", "fallback")
    if not found:
        return Rest({}, ())
    kind = found.get("behavior", "static")
    if kind not in _FALLBACKS:
        return Rest({}, (Note((*path, "behavior"), f"{shown(kind)} {_NO_EQUIVALENT}"),))
    differs, replicas = _FALLBACKS[kind], found.get("replicas")
    if differs is None:
        return Rest({}, ())  # a policy without a fallback keeps the replicas too
    notes = [Note((*path, "behavior"), differs)] if differs else []
    polling, failures = spec.get("pollingInterval", _POLLING), found.get("failureThreshold")
    seconds = polling * failures if _are_whole(polling, failures) else _POLLING * _FAILURES
    if _are_whole(replicas, settings.high) and replicas > settings.high:
        notes.append(Note((*path, "replicas"), f"{replicas} is above maxReplicaCount"))
        replicas = settings.high
    values = {"after": duration_text(max(1, seconds)), "replicas": replicas}
    return Rest({"fallback": values}, tuple(notes))


def _are_whole(*values: Any) -> bool:
    return all(type(each) is int for each in values)
