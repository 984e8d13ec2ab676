"""What an HPA or a ScaledObject of KEDA is set to, in the terms of a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from autoscaler.adapters.policies.cron import window
from autoscaler.adapters.policies.foreign_metrics import (
    ForeignMetric,
    MetricDict,
    hpa_metric,
    listed,
    one_of_a_kind,
    part,
    trigger_metric,
    without_nulls,
)
from autoscaler.adapters.policies.yaml import Path
from autoscaler.model import TargetRef

HPA, SCALED_OBJECT = "HorizontalPodAutoscaler", "ScaledObject"
NO_NAMESPACE = "default"
KEDA_MAX = 100  # replicas, if a ScaledObject does not say
_PERCENT = 80
_NO_METRICS = f"no metric is set, for which Kubernetes takes {_PERCENT} % of the requested CPU"


class Note(NamedTuple):
    """What to know of a setting of another autoscaler. path: of the setting in its object."""

    path: Path
    text: str


class Settings(NamedTuple):
    """The settings of another autoscaler that decide how many replicas there are.

    name, namespace, low, high, behavior: as they are there, whether valid or not. windows: of a
    policy's schedule. window_paths: of their cron triggers. left_out: windows that a policy cannot
    express as they are.
    """

    kind: str
    name: Any
    namespace: Any
    target: Mapping[str, Any]
    low: Any
    high: Any
    metrics: tuple[ForeignMetric, ...]
    behavior: Any
    windows: tuple[dict[str, Any], ...] = ()
    window_paths: tuple[Path, ...] = ()
    left_out: tuple[Note, ...] = ()

    @property
    def least(self) -> Any:
        """The minimum of a policy, which keeps at least one replica."""
        return 1 if self.low == 0 else self.low

    @property
    def our_metrics(self) -> list[MetricDict]:
        """The metrics that a policy can express."""
        return [each.ours for each in self.metrics if each.ours]


def hpa_settings(value: Mapping[str, Any]) -> Settings:
    """Return the settings of an HPA of any version of the API."""
    spec = part(value, "spec")
    target = part(spec, "scaleTargetRef")
    found = [
        hpa_metric(each, ("spec", "metrics", index), _ref(value, target))
        for index, each in enumerate(listed(spec, "metrics"))
    ]
    if not found:  # as version 1 says it, and by default
        key = "targetCPUUtilizationPercentage"
        goal = {"name": "cpu", "target": {"averageUtilization": spec.get(key, _PERCENT)}}
        path: Path = ("spec", key if key in spec else "metrics")
        metric = hpa_metric({"type": "Resource", "resource": goal}, path, _ref(value, target))
        found = [metric if key in spec else metric._replace(note=_NO_METRICS)]
    return Settings(
        HPA,
        part(value, "metadata").get("name"),
        part(value, "metadata").get("namespace"),
        target,
        spec.get("minReplicas", 1),
        spec.get("maxReplicas"),
        tuple(one_of_a_kind(found)),
        spec.get("behavior"),
    )


def scaled_object_settings(value: Mapping[str, Any]) -> Settings:
    """Return the settings of a ScaledObject, its cron triggers as windows."""
    spec = part(value, "spec")
    target = {"kind": "Deployment", **part(spec, "scaleTargetRef")}
    triggers = [
        (("spec", "triggers", index), each) for index, each in enumerate(listed(spec, "triggers"))
    ]
    found = (
        trigger_metric(each, path, _ref(value, target))
        for path, each in triggers
        if each.get("type") != "cron"
    )
    settings = Settings(
        SCALED_OBJECT,
        part(value, "metadata").get("name"),
        part(value, "metadata").get("namespace"),
        target,
        spec.get("minReplicaCount", 0),
        spec.get("maxReplicaCount", KEDA_MAX),
        tuple(one_of_a_kind(found)),
        part(part(spec, "advanced"), "horizontalPodAutoscalerConfig").get("behavior"),
    )
    for path, each in triggers:
        if each.get("type") == "cron":
            settings = _with_window(settings, path, part(each, "metadata"))
    return settings


_READ: Mapping[str, Callable[[Mapping[str, Any]], Settings]] = {
    HPA: hpa_settings,
    SCALED_OBJECT: scaled_object_settings,
}


class Autoscaler(NamedTuple):
    """Another autoscaler. value: its object, without nulls."""

    value: Mapping[str, Any]
    settings: Settings


def autoscaler(value: Mapping[str, Any], deployment: str | None = None) -> Autoscaler | None:
    """Return an object as an autoscaler; None if it is another kind.

    deployment: that it is taken to scale; None: the one that it names.
    """
    read = _READ.get(value["kind"])
    if read is None:
        return None
    value = without_nulls(value)
    if deployment is not None:
        target = {**part(part(value, "spec"), "scaleTargetRef"), "name": deployment}
        value = {**value, "spec": {**part(value, "spec"), "scaleTargetRef": target}}
    return Autoscaler(value, read(value))


def _ref(value: Mapping[str, Any], target: Mapping[str, Any]) -> TargetRef:
    """Return the target for queries, which name its pods."""
    namespace = part(value, "metadata").get("namespace", NO_NAMESPACE)
    return TargetRef(str(namespace), str(target.get("name")))


def _with_window(settings: Settings, path: Path, cron: Mapping[str, Any]) -> Settings:
    """Return the settings with the window of a cron trigger, within the bounds of its object.

    In KEDA, the higher of minReplicaCount and desiredReplicas counts, and at most maxReplicaCount;
    in a policy the `min` of a window replaces that of the policy.
    """
    found, low, high = window(cron), settings.low, settings.high
    if found is None:
        return _without(settings, path, "a cron trigger that does not open and close daily")
    replicas = found["min"]
    if isinstance(low, int) and replicas <= low:
        return _without(settings, path, f"a cron trigger within minReplicaCount ({low})")
    if isinstance(high, int) and replicas > high:
        above = f"the part above maxReplicaCount ({high}) of a cron trigger for {replicas} replicas"
        settings = _without(settings, path, above)
        found["min"] = high  # as the HPA that KEDA makes
    return settings._replace(
        windows=(*settings.windows, found), window_paths=(*settings.window_paths, path)
    )


def _without(settings: Settings, path: Path, text: str) -> Settings:
    return settings._replace(left_out=(*settings.left_out, Note(path, text)))
