"""A right set-up, which is the one that we ship, and ways to break it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
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
    objects = shipped()

    def of(kind: str, namespace: str = REF.namespace) -> list[Any]:
        return [
            each
            for each in objects
            if each["kind"] == kind and each["metadata"]["namespace"] == namespace
        ]

    [deployment], [daemon] = of("Deployment"), of("Deployment", DAEMON.namespace)
    return {
        "deployment": deployment,
        "daemon": daemon,
        "pods": [_pod(deployment, number) for number in range(2)],
        "services": of("Service"),
        "endpoint_slices": [
            {
                "metadata": {"labels": {"kubernetes.io/service-name": "bokeh-app"}},
                "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
            }
        ],
        "ingresses": [],
        "autoscalers": [],
        "scaled_objects": [],
        "budgets": of("PodDisruptionBudget"),
        "network_policies": of("NetworkPolicy"),
        "missing_rights": [],
        "unexamined": [],
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
    return {"metadata": meta, "spec": template["spec"], "status": {"phase": "Running", **statuses}}


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
