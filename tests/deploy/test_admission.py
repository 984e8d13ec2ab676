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

# The fields of the operator's own definition that ours may use; strict about all others.
POD_MONITOR: dict[str, Any] = {
    "type": "object",
    "required": ["selector"],
    "properties": {
        "selector": {
            "type": "object",
            "properties": {
                "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}
            },
        },
        "podMetricsEndpoints": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"port": {"type": "string"}, "interval": {"type": "string"}},
            },
        },
    },
}


def pod_monitor_definition() -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": POD_MONITOR}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "PodMonitor", "plural": "podmonitors", "singular": "podmonitor"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "podmonitors.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": names,
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


def test_the_pod_monitors_have_no_unknown_field(
    control_plane: ControlPlane, kubectl: Path, tmp_path: Path
) -> None:
    access = ("--kubeconfig", control_plane.admin)
    definition = tmp_path / "definition.yaml"
    definition.write_text(yaml.safe_dump(pod_monitor_definition()))
    run_kubectl(kubectl, "apply", *access, "-f", definition)
    established = ["--for=condition=Established", "--timeout=20s"]
    run_kubectl(kubectl, "wait", *access, *established, "-f", definition)
    folder = overlay(tmp_path / "overlay", ["podmonitor"], namespace="monitored")

    apply(control_plane, kubectl, folder)

    got = run_kubectl(kubectl, "get", *access, "-n", "monitored", "podmonitors", "-o", "name")
    assert len(got.split()) == 2


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
