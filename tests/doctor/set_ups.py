"""A right set-up, which is the one that we ship, and ways to break it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from autoscaler.adapters.kubernetes.inspection import Daemon, Inspection
from autoscaler.doctor.examine import examine
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding
from autoscaler.model import TargetRef
from tests.deploy.manifests import FOLDER

REF = TargetRef("bokeh", "bokeh-app")
DAEMON = Daemon("bokeh-autoscaler", "bokeh-autoscaler")
Seen = dict[str, Any]
Break = Callable[[Seen], object]


def shipped() -> list[Any]:
    """The objects of the base."""
    files = ("app", "autoscaler", "networkpolicy")
    texts = [(FOLDER / "base" / f"{name}.yaml").read_text() for name in files]
    return [each for text in texts for each in yaml.safe_load_all(text)]


def right() -> Seen:
    """What is seen of the set-up that we ship, with two ready pods, as plain values to change."""
    return seen_of(shipped())


def seen_of(objects: Sequence[Any]) -> Seen:
    """What is seen of applied objects, with two ready pods behind each Service."""

    def of(kind: str) -> list[Any]:
        return [
            each
            for each in objects
            if each["kind"] == kind and each["metadata"].get("namespace") == REF.namespace
        ]

    def deployment(namespace: str, name: str) -> Any:
        place = {"namespace": namespace, "name": name}
        return next(
            each
            for each in objects
            if each["kind"] == "Deployment" and place.items() <= each["metadata"].items()
        )

    target, daemon = deployment(*REF), deployment(*DAEMON)
    return {
        "deployment": target,
        "daemon": {**daemon, "status": {"readyReplicas": daemon["spec"].get("replicas", 1)}},
        "deployments": of("Deployment"),
        "pods": [_pod(target, number) for number in range(2)],
        "services": of("Service"),
        "endpoint_slices": [_slice(each["metadata"]["name"]) for each in of("Service")],
        "ingresses": of("Ingress"),
        "autoscalers": of("HorizontalPodAutoscaler"),
        "scaled_objects": [],
        "budgets": of("PodDisruptionBudget"),
        "limit_ranges": [],
        "events": [],
        "network_policies": of("NetworkPolicy"),
        "missing_rights": [],
        "unexamined": [],
    }


def _slice(service: str) -> Any:
    return {
        "metadata": {"labels": {"kubernetes.io/service-name": service}},
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
    }


def _pod(deployment: Any, number: int) -> Any:
    template = copy.deepcopy(deployment["spec"]["template"])
    name = f"{deployment['metadata']['name']}-{number}"
    meta = {"name": name, "namespace": deployment["metadata"]["namespace"], **template["metadata"]}
    statuses = {
        kind: [{"name": each["name"], "ready": True, "restartCount": 0} for each in listed]
        for kind, listed in (
            ("containerStatuses", template["spec"]["containers"]),
            ("initContainerStatuses", template["spec"].get("initContainers", ())),
        )
    }
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], **statuses}
    return {"metadata": meta, "spec": template["spec"], "status": status}


def facts(seen: Seen, **more: Any) -> Facts:
    """The facts of what is seen."""
    fields = {key: tuple(v) if isinstance(v, list) else v for key, v in seen.items()}
    cluster = Inspection(**fields)
    return replace(Facts(REF, DAEMON, cluster=cluster), **more)


def broken(*changes: Break) -> Facts:
    """The facts of the right set-up after some changes of what is seen."""
    seen = right()
    for change in changes:
        change(seen)
    return facts(seen)


def found(seen: Facts) -> Mapping[str, Finding]:
    """The findings, by their ids."""
    return {each.id: each for each in examine([seen])}


def template(seen: Seen) -> Any:
    return seen["deployment"]["spec"]["template"]


def app(seen: Seen) -> Any:
    """The container of the app in the template."""
    return template(seen)["spec"]["containers"][0]


def service(seen: Seen) -> Any:
    return seen["services"][0]
