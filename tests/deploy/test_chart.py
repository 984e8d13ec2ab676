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
    template,
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


def daemon(objects: Iterable[Object]) -> Any:
    return next(each["spec"] for each in objects if each["kind"] == "Deployment")


def lease_rules(objects: Iterable[Object]) -> list[Any]:
    rules = [rule for each in objects if each["kind"] == "Role" for rule in each["rules"]]
    return [rule for rule in rules if "leases" in rule["resources"]]


def test_each_release_has_a_lease_of_its_own(helm: Path, tmp_path: Path) -> None:
    objects = render_chart(helm, tmp_path, {"replicas": 2}, release="team-a")

    args = daemon(objects)["template"]["spec"]["containers"][0]["args"]
    assert "--lease=team-a-bokeh-autoscaler" in args
    assert lease_rules(objects)[0]["resourceNames"] == ["team-a-bokeh-autoscaler"]
    assert daemon(objects)["replicas"] == 2


def test_without_a_lease_there_are_never_two_daemons(helm: Path, tmp_path: Path) -> None:
    objects = render_chart(helm, tmp_path, {"lease": "none"})

    assert daemon(objects)["strategy"] == {"type": "Recreate"}
    assert lease_rules(objects) == []
    refused = template(helm, tmp_path, {"lease": "none", "replicas": 2})
    assert "2 daemons would all act without a Lease" in refused.stderr
