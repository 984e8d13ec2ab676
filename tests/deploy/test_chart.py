"""The Helm chart renders what kustomize renders, and refuses values that mean nothing."""

from __future__ import annotations

import json
import re
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
from tests.deploy.manifests import STICKY, Object, one, overlay, render

HOST = "app.example.com"
EXAMPLE: Values = {
    "watchNamespaces": ["bokeh"],
    "example": {"enabled": True, "websocketOrigin": HOST},
}
MONITORING: Values = {
    part: {"enabled": True} for part in ("podMonitor", "prometheusRule", "dashboard")
}


# Both make a new name or text of a changed file, so that pods start anew: kustomize by the name of
# the ConfigMap, a chart by an annotation of the pods.
DIGEST = re.compile(r"^(sticky-\w+)-[0-9a-z]{10}$")
CHECKSUM = "checksum/config"
# What helm must not delete, which means nothing to kustomize.
KEPT = "helm.sh/resource-policy"
PROXY_FILES = (".cfg", ".conf")


def by_identity(objects: Iterable[Object]) -> dict[str, Any]:
    """Objects by kind, namespace and name, but for the Namespace: `helm --create-namespace`."""
    listed = [comparable(without_digests(each)) for each in objects if each["kind"] != "Namespace"]
    return {
        "/".join(
            (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"])
        ): each
        for each in listed
    }


def without_digests(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {
            key: without_digests(each) for key, each in value.items() if key not in (CHECKSUM, KEPT)
        }
        return {key: each for key, each in kept.items() if (key, each) != ("annotations", {})}
    if isinstance(value, list):
        return [without_digests(each) for each in value]
    return DIGEST.sub(r"\1", value) if isinstance(value, str) else value


def comparable(each: Object) -> Object:
    """YAML texts of a ConfigMap as what they mean: comments and the order of keys do not count."""
    if each["kind"] != "ConfigMap":
        return each
    texts = each["data"].items()
    return {
        **each,
        "data": {n: t if n.endswith(PROXY_FILES) else yaml.safe_load(t) for n, t in texts},
    }


def proxy_values(component: str, **further: Any) -> Values:
    kind = component.removeprefix("sticky-")
    return {"proxy": {"enabled": True, "kind": kind, **further}}


@pytest.mark.parametrize(
    ("components", "settings", "values"),
    [
        pytest.param((), {}, {}, id="base"),
        pytest.param(("monitoring",), {}, MONITORING, id="monitoring"),
        *(pytest.param((name,), {}, proxy_values(name), id=name) for name in STICKY),
        pytest.param(("gateway-api",), {}, {"gateway": {"enabled": True}}, id="gateway-api"),
        pytest.param(
            ("sidecar-token",),
            {},
            {"sidecarToken": {"secretName": "sidecar-token"}},
            id="sidecar-token",
        ),
        pytest.param(
            ("scaling-policies",),
            {},
            {"scalingPolicies": {"enabled": True}},
            id="scaling-policies",
        ),
        pytest.param(("journal",), {}, {"journal": {"enabled": True}}, id="journal"),
        pytest.param(("hpa-cpu-only",), {}, {"hpaCpuOnly": {"enabled": True}}, id="hpa-cpu-only"),
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
    words = expected["Deployment/bokeh/bokeh-app"]["spec"]["template"]["spec"]["containers"][0][
        "args"
    ]
    words.insert(3, f"--allow-websocket-origin={HOST}")

    got = by_identity(render_chart(helm, tmp_path, {**EXAMPLE, **values}))

    assert got.keys() == expected.keys()
    for identity, each in got.items():
        assert each == expected[identity], identity


def test_helm_never_deletes_the_definition_with_which_all_scaling_policies_would_go(
    helm: Path, tmp_path: Path
) -> None:
    objects = render_chart(helm, tmp_path, {"scalingPolicies": {"enabled": True}})

    [found] = [each for each in objects if each["kind"] == "CustomResourceDefinition"]
    assert found["metadata"]["annotations"] == {KEPT: "keep"}


def test_a_journal_that_outlives_the_pod_is_on_a_claim(helm: Path, tmp_path: Path) -> None:
    values = {"journal": {"enabled": True, "claimName": "journal"}, "replicas": 1}

    daemon = one(render_chart(helm, tmp_path, values), "Deployment", "bokeh-autoscaler")

    first = daemon["spec"]["template"]["spec"]["volumes"][0]
    assert first == {"name": "journal", "persistentVolumeClaim": {"claimName": "journal"}}


def test_the_app_of_the_chart_has_a_proxy_or_names_its_page(helm: Path, tmp_path: Path) -> None:
    refused = template(helm, tmp_path, {"example": {"enabled": True}})
    for_anybody = template(helm, tmp_path, {"example": {"enabled": True, "websocketOrigin": "*"}})
    behind = render_chart(
        helm, tmp_path, {"example": {"enabled": True}, **proxy_values("sticky-nginx")}
    )

    assert "example.websocketOrigin: name the host of your page" in refused.stderr
    assert "at '/example/websocketOrigin': '*' does not match pattern" in for_anybody.stderr
    assert "--allow-websocket-origin" not in str(behind)


def test_the_policies_in_the_schema_are_the_policies_of_the_daemon() -> None:
    definitions = json.loads(VALUES_SCHEMA.read_text())["$defs"]

    assert definitions == policy_definitions(), "bring it up to date: python -m tests.deploy.chart"


@pytest.mark.parametrize("component", STICKY)
def test_a_proxy_follows_the_app_that_the_values_name(
    helm: Path, tmp_path: Path, component: str
) -> None:
    values = proxy_values(component, app="reports", port=5100)
    objects = render_chart(helm, tmp_path, values)

    settings = "".join(one(objects, "ConfigMap", component)["data"].values())
    assert "5006" not in settings
    for name in ("sticky-routable", "sticky-all"):
        service = one(objects, "Service", name)["spec"]
        assert service["selector"]["app.kubernetes.io/name"] == "reports"
        assert [port["port"] for port in service["ports"]] == [5100]


def daemon(objects: Iterable[Object]) -> Any:
    return next(each["spec"] for each in objects if each["kind"] == "Deployment")


def lease_rules(objects: Iterable[Object]) -> list[Any]:
    roles = [each for each in objects if each["kind"] in ("Role", "ClusterRole")]
    rules = [rule for each in roles for rule in each["rules"]]
    return [rule for rule in rules if "leases" in rule["resources"]]


def test_each_release_has_a_lease_of_its_own(helm: Path, tmp_path: Path) -> None:
    objects = render_chart(helm, tmp_path, {"shards": 2}, release="team-a")

    args = daemon(objects)["template"]["spec"]["containers"][0]["args"]
    assert "--lease=team-a-bokeh-autoscaler" in args
    assert "--shards=2" in args
    old, own, create = lease_rules(objects)
    lease = "team-a-bokeh-autoscaler"
    assert old["resourceNames"] == [lease]
    assert own["resourceNames"] == [f"{lease}-daemons", f"{lease}-0", f"{lease}-1"]
    assert create["verbs"] == ["create"]
    assert daemon(objects)["replicas"] == 2


def test_an_api_server_that_the_values_name_may_connect_to_the_daemon(
    helm: Path, tmp_path: Path
) -> None:
    def admitted(**values: Any) -> list[Any]:
        objects = render_chart(helm, tmp_path, {"networkPolicy": values})
        [rule] = one(objects, "NetworkPolicy", "bokeh-autoscaler")["spec"]["ingress"]
        assert rule["ports"] == [{"protocol": "TCP", "port": 9551}]
        return [each["ipBlock"] for each in rule["from"] if "ipBlock" in each]

    assert admitted() == []
    assert admitted(apiServers=["203.0.113.10/32"]) == [{"cidr": "203.0.113.10/32"}]


def test_without_a_lease_there_are_never_two_daemons(helm: Path, tmp_path: Path) -> None:
    objects = render_chart(helm, tmp_path, {"lease": "none", "replicas": 1})

    assert daemon(objects)["strategy"] == {"type": "Recreate"}
    assert lease_rules(objects) == []
    refused = template(helm, tmp_path, {"lease": "none", "replicas": 2})
    assert "2 daemons would all act without a Lease" in refused.stderr


def test_two_daemons_never_write_one_journal(helm: Path, tmp_path: Path) -> None:
    refused = template(helm, tmp_path, {"journal": {"enabled": True, "claimName": "journal"}})

    assert "2 daemons would write one journal: set replicas to 1" in refused.stderr


@pytest.mark.parametrize(
    ("further", "number"),
    [
        pytest.param({}, 2, id="policies in files"),
        pytest.param({"scalingPolicies": {"enabled": True}}, 4, id="ScalingPolicies"),
    ],
)
def test_one_cluster_role_grants_what_the_roles_of_all_namespaces_would(
    helm: Path, tmp_path: Path, further: Values, number: int
) -> None:
    policies = [target(name, space) for name, space in (("a", "team-a"), ("b", "team-b"))]
    values = {"watchNamespaces": ["team-a", "team-b"], "policies": policies, **further}
    split = render_chart(helm, tmp_path, values)
    whole = render_chart(helm, tmp_path, {**values, "rbac": {"clusterWide": True}})

    roles = [
        each
        for each in split
        if each["kind"] == "Role" and each["metadata"]["namespace"] in values["watchNamespaces"]
    ]
    (role,) = [each for each in whole if each["kind"] == "ClusterRole"]
    (binding,) = [each for each in whole if each["kind"] == "ClusterRoleBinding"]
    assert len(roles) == number
    assert rights(role) == rights(*roles)
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (own,) = [each for each in whole if each["kind"] == "Role"]
    assert own["metadata"]["name"] == "bokeh-autoscaler-leases"


def target(name: str, namespace: str) -> Object:
    metrics = [{"type": "sessions", "seats": 20}]
    where = {"namespace": namespace, "deployment": name}
    return {"name": name, "target": where, "replicas": {"min": 1, "max": 2}, "metrics": metrics}


def rights(*roles: Object) -> set[tuple[str, str, str]]:
    rules = [rule for role in roles for rule in role["rules"]]
    return {
        (verb, resource, name)
        for rule in rules
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }
