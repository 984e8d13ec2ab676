"""A real API server takes our manifests: every field known, every pod admitted as `restricted`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.control_plane import ControlPlane
from tests.cluster.processes import wait_until
from tests.deploy.manifests import big_data, overlay, run_kubectl

pytestmark = [pytest.mark.slow, pytest.mark.control_plane]

# The fields of the operator's own definitions that ours may use; strict about all others.
STRING: dict[str, Any] = {"type": "string"}
STRINGS: dict[str, Any] = {"type": "object", "additionalProperties": STRING}


def fields(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def each(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema}


ENDPOINT = fields(port=STRING, interval=STRING, honorLabels={"type": "boolean"})
RULE = {
    **fields(record=STRING, alert=STRING, expr=STRING, labels=STRINGS, annotations=STRINGS),
    "required": ["expr"],
}
RULE["properties"]["for"] = STRING
GROUP = {**fields(name=STRING, rules=each(RULE)), "required": ["name"]}
SPECS = {
    "PodMonitor": fields(selector=fields(matchLabels=STRINGS), podMetricsEndpoints=each(ENDPOINT)),
    "PrometheusRule": fields(groups=each(GROUP)),
}


def definition(kind: str) -> dict[str, Any]:
    schema = fields(spec=SPECS[kind])
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [version],
        },
    }


def ready_pods(cluster: ControlPlane, namespace: str) -> dict[str, bool]:
    """Whether the Deployments of a namespace have all the pods that they ask for."""
    items = cluster.apps.list_namespaced_deployment(namespace).items
    return {d.metadata.name: d.status.ready_replicas == d.spec.replicas for d in items}


def refusals(cluster: ControlPlane, namespace: str) -> list[str]:
    """Why pods were not created, if any were not."""
    sets = cluster.apps.list_namespaced_replica_set(namespace).items
    conditions = [c for each in sets for c in each.status.conditions or ()]
    return [c.message for c in conditions if c.type == "ReplicaFailure"]


def apply(cluster: ControlPlane, kubectl: Path, folder: Path) -> None:
    access = ("--kubeconfig", cluster.admin)
    run_kubectl(kubectl, "apply", *access, "--validate=strict", "-k", folder)


def await_pods(cluster: ControlPlane, namespace: str, deployments: set[str]) -> None:
    """Until all pods of these Deployments, which are all there are, are admitted and ready."""
    labels = cluster.core.read_namespace(namespace).metadata.labels
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    wait_until(
        lambda: all(ready_pods(cluster, namespace).values()),
        30,
        f"ready pods: {refusals(cluster, namespace)}",
    )
    assert set(ready_pods(cluster, namespace)) == deployments
    assert not refusals(cluster, namespace)


@pytest.mark.parametrize(
    "components",
    [(), ("prometheus",), ("zero-touch", "prometheus")],
    ids=["base", "prometheus", "zero-touch"],
)
def test_every_pod_is_admitted_and_ready(
    control_plane: ControlPlane, kubectl: Path, tmp_path: Path, components: tuple[str, ...]
) -> None:
    namespace = "-".join(["bokeh", *components])
    apply(control_plane, kubectl, overlay(tmp_path, components, namespace=namespace))

    wanted = {"bokeh-app", "bokeh-autoscaler"} | ({"prometheus"} & set(components))
    await_pods(control_plane, namespace, wanted)


def test_every_pod_of_the_big_data_example_is_admitted_and_ready(
    control_plane: ControlPlane, kubectl: Path, tmp_path: Path
) -> None:
    apply(control_plane, kubectl, big_data(tmp_path, ["dask"], namespace="big-data"))

    dask = {"dask-scheduler", "dask-worker"}
    wanted = {"bokeh-app", "bokeh-autoscaler", "points", "prometheus"}
    await_pods(control_plane, "big-data", wanted | dask)


def test_what_the_prometheus_operator_reads_has_no_unknown_field(
    control_plane: ControlPlane, kubectl: Path, tmp_path: Path
) -> None:
    access = ("--kubeconfig", control_plane.admin)
    definitions = tmp_path / "definitions.yaml"
    definitions.write_text(yaml.safe_dump_all(map(definition, SPECS)))
    run_kubectl(kubectl, "apply", *access, "-f", definitions)
    established = ["--for=condition=Established", "--timeout=20s"]
    run_kubectl(kubectl, "wait", *access, *established, "-f", definitions)
    folder = overlay(tmp_path / "overlay", ["monitoring"], namespace="monitored")

    apply(control_plane, kubectl, folder)

    kinds = "podmonitors,prometheusrules"
    got = run_kubectl(kubectl, "get", *access, "-n", "monitored", kinds, "-o", "name")
    assert len(got.split()) == 3


def test_a_pod_that_asks_for_more_is_refused(
    control_plane: ControlPlane, kubectl: Path, tmp_path: Path
) -> None:
    """So the pods above were admitted by a check that is there."""
    control_plane.create_namespace("refused")
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    control_plane.core.patch_namespace("refused", label)
    labels = {"app": "root"}
    pod = {"containers": [{"name": "app", "image": "root"}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    body = {"metadata": {"name": "root"}, "spec": spec}
    control_plane.apps.create_namespaced_deployment("refused", body)

    reasons = wait_until(lambda: refusals(control_plane, "refused"), 20, "a refusal")

    assert 'violates PodSecurity "restricted' in reasons[0]
