"""Our manifests changed for a test: the shipped app under other names, a component alone."""

from __future__ import annotations

import copy
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.lab.live_cluster import NAMESPACE
from tests.lab.stack import overlay
from tests.node.shipped import APP, NAME_LABEL, Json


def shipped_app(
    name: str,
    code: str | None = None,
    *args: str,
    components: Sequence[str] = (),
    **resources: str,
) -> list[Json]:
    """The shipped example under another name: its Deployment, Service and PodDisruptionBudget.

    code: another app.py. args: after those of `bokeh serve`. components: that change the app.
    resources: limits of the app.
    """
    objects = [each for each in _rendered(components) if each["metadata"]["name"] == APP]
    objects = [_renamed(each, name) for each in objects]
    deployment = next(each for each in objects if each["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["args"] += args
    for kind in ("requests", "limits"):
        container["resources"][kind].update(resources)
    if code is not None:
        objects.append(_code(name, code))
        _mount(deployment["spec"]["template"]["spec"], f"{name}-code")
    return objects


def component(name: str) -> list[Json]:
    """What a component adds to the base."""
    base = {_identity(each) for each in _rendered([])}
    return [each for each in _rendered([name]) if _identity(each) not in base]


def _identity(each: Json) -> tuple[str, str]:
    return each["kind"], each["metadata"]["name"]


def _rendered(components: Sequence[str]) -> list[Json]:
    with tempfile.TemporaryDirectory() as folder:
        command = ["kubectl", "kustomize", str(overlay(Path(folder), components))]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return list(yaml.safe_load_all(text))


def _renamed(original: Mapping[str, Any], name: str) -> Json:
    """With the labels and selectors that go with its name, and the same key."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: given(key, inner) for key, inner in value.items()}
        return [renamed(each) for each in value] if isinstance(value, list) else value

    def given(key: str, value: Any) -> Any:
        if key == "secretRef":
            return value
        return name if key in (NAME_LABEL, "name") and value == APP else renamed(value)

    return dict(renamed(copy.deepcopy(dict(original))))


def _code(name: str, code: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-code", "namespace": NAMESPACE},
        "data": {"app.py": code},
    }


def _mount(spec: Json, config_map: str) -> None:
    spec["volumes"].append({"name": "code", "configMap": {"name": config_map}})
    spec["containers"][0]["volumeMounts"].append(
        {"name": "code", "mountPath": "/app/app.py", "subPath": "app.py", "readOnly": True}
    )
