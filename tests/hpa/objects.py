"""A case as the objects that the real HPA controller reads: pods, their metrics, an HPA."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

Fact = dict[str, Any]
Json = dict[str, Any]
TIME = "%Y-%m-%dT%H:%M:%SZ"


def shared_pods(fact: Fact) -> list[Fact]:
    """The pods of a case; where only their number matters, so many of them Ready."""
    for metric in fact["metrics"]:
        if "pods" in metric:
            pods: list[Fact] = metric["pods"]
            return pods
    ready = next((metric["ready_pods"] for metric in fact["metrics"] if "ready_pods" in metric), 0)
    return [{"ready": number < ready, "start_age_s": 3600} for number in range(ready + 1)]


def pod(fact: Fact, target: str, number: int) -> Json:
    """A pod of an app with a native sidecar, which share the pod's requests.

    No scheduler takes it, so nothing but the test says what becomes of it.
    """
    requests = _requests(fact, number)
    metadata: Json = {"name": f"{target}-{number}", "labels": {"target": target}}
    if shared_pods(fact)[number].get("deleted"):
        metadata["finalizers"] = ["scale.tests/stay"]
    return {
        "metadata": metadata,
        "spec": {
            "schedulerName": "none",
            "containers": [_container("app", requests, 0)],
            "initContainers": [_container("sidecar", requests, 1) | {"restartPolicy": "Always"}],
        },
    }


def _requests(fact: Fact, number: int) -> dict[str, int]:
    metrics = [metric for metric in fact["metrics"] if "resource" in metric]
    requests = {metric["resource"]: metric["pods"][number]["req"] for metric in metrics}
    return {resource: amount for resource, amount in requests.items() if amount is not None}


def _container(name: str, requests: dict[str, int], share: int) -> Json:
    amounts = {resource: _halves(resource, amount)[share] for resource, amount in requests.items()}
    resources = {"requests": {key: f"{amount}m" for key, amount in amounts.items()}}
    return {"name": name, "image": "localhost/pause:1", "resources": resources}


def _halves(resource: str, amount: int) -> tuple[int, int]:
    """Memory is whole bytes, so its milli-units are whole thousands."""
    unit = 1000 if resource == "memory" else 1
    half = amount // unit // 2 * unit
    return amount - half, half


def pod_status(shared: Fact, now: datetime) -> Json:
    """The status of a pod that a kubelet would have reported at the ages given."""
    status: Json = {"phase": shared.get("phase", "Running"), "conditions": []}
    started = shared.get("start_age_s")
    if started is not None:
        status["startTime"] = _ago(now, started)
    if (ready := shared.get("ready", True)) is not None:
        since = _ago(now, shared.get("transition_age_s", 0))
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": since}
        status["conditions"].append(condition)
    return {"status": status}


def pod_metrics(fact: Fact, target: str, now: datetime) -> list[Json]:
    """What the metrics API says: pods without any sample are not in it."""
    listed = [_usage(fact, target, number, now) for number in range(len(shared_pods(fact)))]
    return [entry for entry in listed if entry["containers"][0]["usage"]]


def _usage(fact: Fact, target: str, number: int, now: datetime) -> Json:
    shared = shared_pods(fact)[number]
    used = {
        metric.get("resource", "memory"): metric["pods"][number]["use"]
        for metric in fact["metrics"]
        if metric.get("pods", ()) and metric["pods"][number].get("use") is not None
    }
    app = {name: f"{amount - amount // 3}m" for name, amount in used.items()}
    sidecar = {name: f"{amount // 3}m" for name, amount in used.items()}
    return {
        "metadata": {"name": f"{target}-{number}", "namespace": "default"},
        "timestamp": _ago(now, shared.get("metric_age_s", 0)),
        "window": f"{shared.get('window_s', 60)}s",
        "containers": [{"name": "app", "usage": app}, {"name": "sidecar", "usage": sidecar}],
    }


def _ago(now: datetime, seconds: int) -> str:
    return (now.astimezone(UTC) - timedelta(seconds=seconds)).strftime(TIME)


def hpa_spec(fact: Fact, target: str) -> Json:
    """The spec of the case's HPA, but for its scaleTargetRef."""
    metrics = [_metric(metric, target, index) for index, metric in enumerate(fact["metrics"])]
    spec: Json = {"minReplicas": fact["min"], "maxReplicas": fact["max"], "metrics": metrics}
    if "up" in fact:
        tolerant: Fact = next((metric for metric in fact["metrics"] if "error" not in metric), {})
        spec["behavior"] = {
            "scaleUp": rules(fact["up"], tolerant.get("tolerance_up")),
            "scaleDown": rules(fact["down"], tolerant.get("tolerance_down")),
        }
    return spec


def rules(fact: Fact, tolerance: float | None) -> Json:
    """One direction of `spec.behavior`."""
    kinds = {"pods": "Pods", "percent": "Percent"}
    policies = [
        {"type": kind, "value": fact[key][0], "periodSeconds": fact[key][1]}
        for key, kind in kinds.items()
        if key in fact
    ]
    stanza = {
        "selectPolicy": fact.get("select"),
        "stabilizationWindowSeconds": fact.get("window_s"),
        "policies": policies or None,
        "tolerance": None if tolerance is None else str(tolerance),
    }
    return {key: value for key, value in stanza.items() if value is not None}


def external_name(target: str, index: int) -> str:
    """What the external metric at that place of a case is called."""
    return f"{target}-metric-{index}"


def _metric(metric: Fact, target: str, index: int) -> Json:
    if metric.get("func") == "resource":
        goal = {"type": "Utilization", "averageUtilization": metric["target_pct"]}
        return {"type": "Resource", "resource": {"name": metric["resource"], "target": goal}}
    if metric.get("func") == "pods":
        goal = {"type": "AverageValue", "averageValue": f"{metric['target']}m"}
        return {"type": "Resource", "resource": {"name": "memory", "target": goal}}
    if metric.get("func") == "average_value":
        goal = {"type": "AverageValue", "averageValue": f"{metric['target']}m"}
    else:
        goal = {"type": "Value", "value": f"{metric.get('target', 1)}m"}
    name = {"name": external_name(target, index)}
    return {"type": "External", "external": {"metric": name, "target": goal}}
