"""Conversion of an HPA or a ScaledObject of KEDA to a policy, as an error message in one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from autoscaler.adapters.policies.yaml import flow_text, shown
from autoscaler.policy import Policy

_NO_LABEL = re.compile(r"[^a-z0-9]+")
_SEATS = {"type": "sessions", "seats": 20}
_OF_LIMIT = "memory (HPA and KEDA count it in percent of the requests, a policy of the limits)"

MetricDict = dict[str, Any]
# Returns the metric of an entry, or why a policy cannot express it.
Convert = Callable[[Mapping[str, Any]], "MetricDict | str"]


class ForeignSpec(NamedTuple):
    """The settings of another autoscaler. left_out: those that a policy cannot express."""

    kind: str
    name: Any
    namespace: Any
    target: Mapping[str, Any]
    low: Any
    high: Any
    metrics: list[MetricDict]
    behavior: Any
    left_out: list[str]


def from_hpa(value: Mapping[str, Any]) -> str:
    """Return the message for an HPA of any version, with the policy that replaces it."""
    return _message(hpa_spec(value, _hpa_metric))


def from_scaled_object(value: Mapping[str, Any]) -> str:
    """Return the message for a ScaledObject, with the policy that replaces it."""
    return _message(scaled_object_spec(value, trigger_metric))


def hpa_spec(value: Mapping[str, Any], convert: Convert) -> ForeignSpec:
    """Return the settings of an HPA of any version. convert: gives the metric of an entry."""
    meta, spec = part(value, "metadata"), part(value, "spec")
    found = [convert(each) for each in listed(spec, "metrics")]
    if not found:
        percent = spec.get("targetCPUUtilizationPercentage", 80)
        found = [utilization("cpu", percent)]
    metrics, left_out = _sorted(found)
    return ForeignSpec(
        "HorizontalPodAutoscaler",
        meta.get("name"),
        meta.get("namespace"),
        part(spec, "scaleTargetRef"),
        spec.get("minReplicas", 1),
        spec.get("maxReplicas"),
        metrics,
        spec.get("behavior"),
        left_out,
    )


def scaled_object_spec(value: Mapping[str, Any], convert: Convert) -> ForeignSpec:
    """Return the settings of a ScaledObject. convert: gives the metric of a trigger."""
    meta, spec = part(value, "metadata"), part(value, "spec")
    metrics, left_out = _sorted(convert(each) for each in listed(spec, "triggers"))
    advanced = part(part(spec, "advanced"), "horizontalPodAutoscalerConfig")
    return ForeignSpec(
        "ScaledObject",
        meta.get("name"),
        meta.get("namespace"),
        {"kind": "Deployment", **part(spec, "scaleTargetRef")},
        spec.get("minReplicaCount", 0),
        spec.get("maxReplicaCount", 100),
        metrics,
        advanced.get("behavior"),
        left_out,
    )


def _message(source: ForeignSpec) -> str:
    kind = source.target.get("kind")
    if kind != "Deployment":
        of = f" of a {shown(kind)[1:-1]}" if isinstance(kind, str) else ""
        return f"is a {source.kind}{of}, expected a policy; the target of a policy is a Deployment"
    notes = [f"not converted: {', '.join(source.left_out)}"] if source.left_out else []
    if source.low == 0:
        notes.append("a policy keeps at least 1 replica")
    if not source.metrics:
        notes.append("seats is the number of sessions that one pod may hold")
    if not isinstance(source.namespace, str):
        notes.append("set the namespace of the Deployment")
    policy, complete = _policy(source)
    if not complete:
        notes.append("values that are invalid in a policy are left out")
    notes.append(f"delete the {source.kind} when the policy is active")
    written = flow_text(policy)
    return f"is a {source.kind}, expected a policy, such as {written} ({'; '.join(notes)})"


def _policy(source: ForeignSpec) -> tuple[Mapping[str, Any], bool]:
    """Return a policy with all values that are valid, and whether all of them are."""
    names = [each for each in (source.name, source.target.get("name")) if isinstance(each, str)]
    name = _NO_LABEL.sub("-", "".join(names[:1]).lower())[:63].strip("-") or "dashboards"
    namespace = source.namespace if isinstance(source.namespace, str) else "default"
    low = 1 if source.low == 0 else source.low
    whole: dict[str, Any] = {
        "name": name,
        "target": {"namespace": namespace, "deployment": source.target.get("name")},
        "replicas": {"min": low, "max": source.high},
        "metrics": source.metrics or [_SEATS],
    }
    if source.behavior is not None:
        whole["behavior"] = source.behavior
    if _is_valid(whole):
        return whole, True
    whole.pop("behavior", None)
    plain = {
        "name": "dashboards",
        "target": {"namespace": "bokeh", "deployment": "bokeh-app"},
        "replicas": {"min": 2, "max": 20},
        "metrics": [_SEATS],
    }
    for key in whole:
        if _is_valid({**plain, key: whole[key]}):
            plain[key] = whole[key]
    return plain, False


def _is_valid(value: Mapping[str, Any]) -> bool:
    try:
        Policy.model_validate(value)
    except ValidationError:
        return False
    return True


def _sorted(found: Iterable[MetricDict | str]) -> tuple[list[MetricDict], list[str]]:
    """Return the metrics, one of each kind, and what cannot be converted."""
    metrics: list[MetricDict] = []
    left_out: list[str] = []
    for each in found:
        if isinstance(each, str):
            left_out.append(each)
        elif each["type"] != "prometheus" and each["type"] in [had["type"] for had in metrics]:
            left_out.append(f"a second {each['type']} metric")
        else:
            metrics.append(each)
    return metrics, left_out


def _hpa_metric(metric: Mapping[str, Any]) -> MetricDict | str:
    kind = str(metric.get("type"))
    details = part(metric, kind[:1].lower() + kind[1:])
    if kind != "Resource":
        names = (
            details.get("name"),
            details.get("metricName"),
            part(details, "metric").get("name"),
        )
        name = next((each for each in names if each), None)
        return f"{shown(kind)[1:-1]} metric {shown(name)}"
    target = part(details, "target")
    percent = target.get("averageUtilization", details.get("targetAverageUtilization"))
    return utilization(details.get("name"), percent)


def utilization(resource: Any, percent: Any) -> MetricDict | str:
    """Return a cpu metric, or why it cannot be converted.

    A policy counts memory in percent of the limits, and has no absolute values.
    """
    if resource == "memory":
        return _OF_LIMIT
    if resource != "cpu" or type(percent) is not int or not 1 <= percent <= 1_000:
        return f"{shown(resource)} without a percentage"
    return {"type": "cpu", "utilization": f"{percent}%"}


def trigger_metric(trigger: Mapping[str, Any]) -> MetricDict | str:
    """Return the metric of a trigger of KEDA, or why a policy cannot express it."""
    kind, metadata = trigger.get("type"), part(trigger, "metadata")
    if kind == "cron":
        return "cron (use schedule: {days, from, to, timezone, min})"
    if kind in ("cpu", "memory"):
        value = str(metadata.get("value"))
        is_share = "Utilization" in (trigger.get("metricType"), metadata.get("type"))
        digits = is_share and re.fullmatch("[0-9]{1,4}", value)
        return utilization(kind, int(value) if digits else None)
    if kind != "prometheus":
        return f"trigger {shown(kind)}"
    try:
        threshold = float(str(metadata.get("threshold")))
    except ValueError:
        threshold = 0.0
    key = "value" if trigger.get("metricType") == "Value" else "perReplica"
    query = metadata.get("query")
    number = int(threshold) if threshold.is_integer() else threshold
    metric = {"type": "prometheus", "query": query, key: number}
    sample = {"name": "a", "target": {"namespace": "a", "deployment": "a"}}
    fits = _is_valid({**sample, "replicas": {"min": 1, "max": 1}, "metrics": [metric]})
    return metric if fits else f"the query {shown(query)}"


def part(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the mapping under a key; an empty one if there is none."""
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def listed(value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the mappings of the list under a key."""
    found = value.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
