"""HPAs and ScaledObjects of KEDA as people write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autoscaler.adapters.policies.convert import Conversion, Conversions, convert
from autoscaler.adapters.policies.policy_file import read_documents

DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "dash"}
QUIET = {"scaleDown": {"stabilizationWindowSeconds": 60}}


def hpa(version: str = "autoscaling/v2", **spec: Any) -> dict[str, Any]:
    """An HPA of the Deployment bokeh/dash, with 2 to 12 replicas."""
    return {
        "apiVersion": version,
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "dash", "namespace": "bokeh"},
        "spec": {"scaleTargetRef": DEPLOYMENT, "minReplicas": 2, "maxReplicas": 12, **spec},
    }


def resource(name: str, **target: Any) -> dict[str, Any]:
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def cpu(percent: int = 65) -> dict[str, Any]:
    return resource("cpu", type="Utilization", averageUtilization=percent)


def pods(name: str, average: str) -> dict[str, Any]:
    target = {"type": "AverageValue", "averageValue": average}
    return {"type": "Pods", "pods": {"metric": {"name": name}, "target": target}}


def external(name: str, selector: Any = None, **target: str) -> dict[str, Any]:
    metric = {"name": name} if selector is None else {"name": name, "selector": selector}
    return {"type": "External", "external": {"metric": metric, "target": target}}


def scaled(*triggers: Any, **spec: Any) -> dict[str, Any]:
    """A ScaledObject of the Deployment bokeh/dash."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "dash", "namespace": "bokeh"},
        "spec": {"scaleTargetRef": {"name": "dash"}, "triggers": list(triggers), **spec},
    }


def asked(query: str, threshold: str, **keys: Any) -> dict[str, Any]:
    return {"type": "prometheus", "metadata": {"query": query, "threshold": threshold}, **keys}


def cron(
    start: str = "0 8 * * 1-5", end: str = "0 18 * * 1-5", replicas: str = "4"
) -> dict[str, Any]:
    times = {"timezone": "Europe/Berlin", "start": start, "end": end}
    return {"type": "cron", "metadata": {**times, "desiredReplicas": replicas}}


def annotated(manifest: dict[str, Any], **annotations: str) -> dict[str, Any]:
    """The manifest with annotations, named without the prefix autoscaling.keda.sh/."""
    keys = {f"autoscaling.keda.sh/{key.replace('_', '-')}": annotations[key] for key in annotations}
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": keys}}


def a_list(kind: str, *items: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "items": list(items)}


def conversions(*manifests: Any, seats: int | None = None) -> Conversions:
    """What is made of a file, hpa.yaml, with these documents: texts, or values to write as JSON."""
    texts = (each if isinstance(each, str) else json.dumps(each) for each in manifests)
    documents = read_documents(Path("hpa.yaml"), "\n---\n".join(texts).encode())
    return convert(documents, "hpa.yaml", seats)


def converted(manifest: Any, seats: int | None = None) -> Conversion:
    [found] = conversions(manifest, seats=seats).found
    return found
