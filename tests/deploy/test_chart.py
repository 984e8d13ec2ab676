"""The Helm chart renders what kustomize renders, and refuses values that mean nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.chart import (
    VALUES_SCHEMA,
    Values,
    policy_definitions,
    render_chart,
)
from tests.deploy.manifests import Object, overlay, render

EXAMPLE: Values = {"example": {"enabled": True}}
MONITORING: Values = {
    part: {"enabled": True} for part in ("podMonitor", "prometheusRule", "dashboard")
}


def by_identity(objects: Iterable[Object]) -> dict[str, Any]:
    """Objects by kind, namespace and name, but for the Namespace: `helm --create-namespace`."""
    return {
        "/".join((each["kind"], each["metadata"]["namespace"], each["metadata"]["name"])): (
            comparable(each)
        )
        for each in objects
        if each["kind"] != "Namespace"
    }


def comparable(each: Object) -> Object:
    """YAML texts of a ConfigMap as what they mean: comments and the order of keys do not count."""
    if each["kind"] != "ConfigMap":
        return each
    return {**each, "data": {name: yaml.safe_load(text) for name, text in each["data"].items()}}


@pytest.mark.parametrize(
    ("components", "settings", "values"),
    [
        pytest.param((), {}, {}, id="base"),
        pytest.param(("monitoring",), {}, MONITORING, id="monitoring"),
    ],
)
def test_the_chart_renders_the_objects_of_kustomize(
    kubectl: Path,
    helm: Path,
    tmp_path: Path,
    components: tuple[str, ...],
    settings: Values,
    values: Values,
) -> None:
    expected = by_identity(render(kubectl, overlay(tmp_path, components, **settings)))

    got = by_identity(render_chart(helm, tmp_path, {**EXAMPLE, **values}))

    assert got.keys() == expected.keys()
    for identity, each in got.items():
        assert each == expected[identity], identity


def test_the_policies_in_the_schema_are_the_policies_of_the_daemon() -> None:
    definitions = json.loads(VALUES_SCHEMA.read_text())["$defs"]

    assert definitions == policy_definitions(), "bring it up to date: python -m tests.deploy.chart"
