"""What a stolen token of the daemon can do on a real API server: what the daemon does, no more."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiClient, AppsV1Api, AutoscalingV1Api, CoreV1Api
from kubernetes.client.exceptions import ApiException

from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
from autoscaler.errors import AutoscalerError
from autoscaler.model import Cause, Cordon, PodMarks, TargetRef
from tests.deploy.manifests import Object, apply_objects, overlay, render
from tests.lab.access import connected
from tests.lab.control_plane import ControlPlane
from tests.lab.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.control_plane]

APPS, OWN, APP, OTHER = "bokeh", "bokeh-autoscaler", "bokeh-app", "somebody-elses"
WITHIN = 30.0
Json = dict[str, Any]


def another_app(objects: list[Object]) -> Object:
    """The same app under a name that no policy has."""
    [found] = [e for e in objects if (e["kind"], e["metadata"]["name"]) == ("Deployment", APP)]
    text = json.dumps({**found, "metadata": {"name": OTHER, "namespace": APPS}})
    return dict(
        json.loads(text.replace('"app.kubernetes.io/name": "bokeh-app"', f'"app": "{OTHER}"'))
    )


@pytest.fixture(scope="module")
def installed(
    control_plane: ControlPlane, kubectl: Path, tmp_path_factory: pytest.TempPathFactory
) -> ControlPlane:
    """The base, with a Deployment beside it that it has no policy for."""
    folder = tmp_path_factory.mktemp("base")
    objects = render(kubectl, overlay(folder / "overlay"))
    apply_objects(kubectl, control_plane.admin, [*objects, another_app(objects)], folder)
    wait_until(lambda: pod_of(control_plane), WITHIN, "a pod of the app")
    return control_plane


def pod_of(cluster: ControlPlane) -> Any:
    label = f"app.kubernetes.io/name={APP}"
    pods = cluster.core.list_namespaced_pod(APPS, label_selector=label).items
    return next((pod for pod in pods if pod.status.phase == "Running"), None)


@pytest.fixture(scope="module")
def token(installed: ControlPlane) -> Path:
    """A kubeconfig with the daemon's own token, once the API server heeds our policy."""
    answer = installed.core.create_namespaced_service_account_token(OWN, OWN, {"spec": {}})
    kubeconfig = installed.kubeconfig(answer.status.token, "stolen")
    with connected(kubeconfig) as api:

        def is_heeded() -> bool:  # another value each time: what changes nothing is let through
            body = {"metadata": {"labels": {"probe": secrets.token_hex(4)}}}
            return "may change no label" in patch_pod(api, installed, body)

        wait_until(is_heeded, WITHIN, "the policy")
    return kubeconfig


@pytest.fixture
def thief(token: Path) -> Iterator[ApiClient]:
    with connected(token) as api:
        yield api


def patch_pod(api: ApiClient, cluster: ControlPlane, body: Json) -> str:
    """A merge patch of a pod of the app. What the API server says against it, if it does."""
    name = pod_of(cluster).metadata.name
    return refusal(lambda: CoreV1Api(api).patch_namespaced_pod(name, APPS, body))


def refusal(call: Callable[[], Any]) -> str:
    try:
        call()
    except ApiException as error:
        return str(json.loads(error.body)["message"])
    return ""


OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"spec": {"containers": [{"name": "app", "image": "evil"}]}}, "change the spec"),
        ({"spec": {"initContainers": [{"name": "exporter", "image": "evil"}]}}, "change the spec"),
        ({"spec": {"activeDeadlineSeconds": 1}}, "change the spec"),
        ({"metadata": {"labels": {"app.kubernetes.io/name": None}}}, "no label"),
        ({"metadata": {"labels": {"app.kubernetes.io/name": "points"}}}, "no label"),
        ({"metadata": {"labels": {"new": "label"}}}, "no label"),
        ({"metadata": {"annotations": {"new": "annotation"}}}, "no annotation"),
        ({"metadata": {"annotations": {"container.apparmor.security": "x"}}}, "no annotation"),
        ({"metadata": {"finalizers": ["example.com/for-ever"]}}, "finalizers"),
        ({"metadata": {"ownerReferences": [OWNER]}}, "owners"),
    ],
    ids=str,
)
def test_everything_else_of_a_pod_is_refused(
    installed: ControlPlane, thief: ApiClient, body: Json, told: str
) -> None:
    said = patch_pod(thief, installed, body)

    assert "ValidatingAdmissionPolicy 'bokeh-autoscaler'" in said
    assert told in said


def test_the_foreign_annotation_of_a_pod_is_not_removed(
    installed: ControlPlane, thief: ApiClient
) -> None:
    body = {"metadata": {"annotations": {"team": "a"}}}
    installed.core.patch_namespaced_pod(pod_of(installed).metadata.name, APPS, body)

    assert "no annotation" in patch_pod(thief, installed, {"metadata": {"annotations": None}})
    assert "no annotation" in patch_pod(
        thief, installed, {"metadata": {"annotations": {"team": None}}}
    )


OURS = {
    "bokeh-autoscaler/cordoned-for": "scale-down",
    "bokeh-autoscaler/cordoned-at": "1",
    "bokeh-autoscaler/deletion-cost": "-5",
    "bokeh-autoscaler/protected": "true",
    "controller.kubernetes.io/pod-deletion-cost": "-5",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}


def test_its_own_label_and_annotations_are_let_through_both_ways(
    installed: ControlPlane, thief: ApiClient
) -> None:
    for value in ("false", "true"):
        label = {"bokeh-autoscaler/routable": value}
        assert patch_pod(thief, installed, {"metadata": {"labels": label}}) == ""
    for each in (OURS, dict.fromkeys(OURS)):
        assert patch_pod(thief, installed, {"metadata": {"annotations": each}}) == ""


def test_it_scales_the_deployments_of_policies_and_no_others(thief: ApiClient) -> None:
    apps = AppsV1Api(thief)
    scale = {"spec": {"replicas": 2}}

    assert refusal(lambda: apps.patch_namespaced_deployment_scale(APP, APPS, scale)) == ""
    said = refusal(lambda: apps.patch_namespaced_deployment_scale(OTHER, APPS, scale))
    assert f'"{OTHER}" is forbidden' in said
    image = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "evil"}]}}}}
    assert "forbidden" in refusal(lambda: apps.patch_namespaced_deployment(APP, APPS, image))


def test_it_reads_no_secret_and_nothing_of_its_own_namespace(thief: ApiClient) -> None:
    core = CoreV1Api(thief)

    for call in (
        lambda: core.read_namespaced_secret(APP, APPS),
        lambda: core.list_namespaced_pod(OWN),
        lambda: core.read_namespaced_config_map("bokeh-autoscaler-policies", OWN),
        lambda: AutoscalingV1Api(thief).list_horizontal_pod_autoscaler_for_all_namespaces(),
    ):
        assert "forbidden" in refusal(call)


def test_everybody_else_changes_pods_as_before(installed: ControlPlane) -> None:
    body = {"metadata": {"labels": {"by": "an-administrator"}}}

    assert patch_pod(installed.api, installed, body) == ""


def test_the_daemon_can_do_all_that_it_does(installed: ControlPlane, token: Path) -> None:
    cluster, ref = KubernetesCluster.connect(token), TargetRef(APPS, APP)
    state = cluster.observe([ref])[ref]
    assert not isinstance(state, AutoscalerError)

    cordon = Cordon(Cause.FULL, 0.0)
    cluster.mark_pod(state, state.pods[0], PodMarks(routable=False, cordon=cordon, cost=-5))
    cluster.scale(state, state.replicas)
    cluster.announce(state.ref, state.uid, "DesiredWithinRange", "a test", warning=False)

    name = state.pods[0].name
    found = installed.core.read_namespaced_pod(name, APPS).metadata
    assert found.labels["bokeh-autoscaler/routable"] == "false"
    assert found.annotations["controller.kubernetes.io/pod-deletion-cost"] == "-5"
