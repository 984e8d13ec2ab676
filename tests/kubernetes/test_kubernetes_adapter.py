"""The Kubernetes adapter against a real API server with the real controllers behind it."""

from __future__ import annotations

import re
import time

import pytest
from kubernetes import client

from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
from autoscaler.adapters.kubernetes.pods import CORDONED_AT, DELETION_COST, PROTECTED
from autoscaler.errors import ClusterError, ConflictError, RefusedError, TargetNotFoundError
from autoscaler.model import Cause, Cordon, PodMarks, TargetRef
from autoscaler.ports import TargetState
from tests.lab.access import Access
from tests.lab.objects import ROUTABLE, deployment
from tests.lab.processes import wait_until
from tests.lab.scripted_node import ZONE, ScriptedNode

pytestmark = [pytest.mark.slow, pytest.mark.control_plane]

WITHIN = 20.0


@pytest.fixture
def cluster(control_plane: Access) -> KubernetesCluster:
    return KubernetesCluster.connect(control_plane.admin)


@pytest.fixture
def app(control_plane: Access, namespace: str) -> TargetRef:
    """A Deployment with three Ready pods."""
    ref = TargetRef(namespace, "bokeh-app")
    control_plane.apps.create_namespaced_deployment(namespace, deployment("bokeh-app", 3))
    control_plane.settle(namespace, "bokeh-app", 3)
    return ref


def seen(cluster: KubernetesCluster, ref: TargetRef) -> TargetState:
    state = cluster.observe([ref])[ref]
    assert isinstance(state, TargetState), state
    return state


def test_it_reads_the_deployment_and_its_pods(cluster: KubernetesCluster, app: TargetRef) -> None:
    state = seen(cluster, app)

    assert (state.replicas, state.status_replicas, state.rollout_in_progress) == (3, 3, False)
    pod = state.pods[0]
    limit = 512 * 1024**2 * 1000
    assert pod.resources == (500, 256 * 1024**2 * 1000, limit, (("app", limit),))
    assert pod.started_at is not None
    assert abs(pod.started_at - time.time()) < 120
    assert pod.ip


@pytest.mark.usefixtures("node")
def test_kubernetes_tells_the_zone_of_each_pod(cluster: KubernetesCluster, app: TargetRef) -> None:
    assert {pod.zone for pod in seen(cluster, app).pods} == {ZONE}


def test_pods_of_others_are_not_counted_even_with_the_same_labels(
    control_plane: Access, cluster: KubernetesCluster, app: TargetRef
) -> None:
    other = deployment("look-alike", 2, labels={"app": "look-alike", "team": "bokeh-app"})
    control_plane.apps.create_namespaced_deployment(app.namespace, other)
    stray = {
        "metadata": {"name": "stray", "labels": {"app": "not-owned"}},
        "spec": other["spec"]["template"]["spec"],
    }
    control_plane.core.create_namespaced_pod(app.namespace, stray)
    control_plane.settle(app.namespace, "look-alike", 2)

    assert len(seen(cluster, app).pods) == 3


def test_pods_are_found_by_a_selector_of_any_kind(
    control_plane: Access, cluster: KubernetesCluster, namespace: str
) -> None:
    body = deployment("chosen", 2, labels={"tier": "web"})
    body["spec"]["selector"] = {
        "matchLabels": {"app": "chosen"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["api", "web"]},
            {"key": "app", "operator": "NotIn", "values": ["other"]},
            {"key": "app", "operator": "Exists"},
            {"key": "canary", "operator": "DoesNotExist"},
        ],
    }
    control_plane.apps.create_namespaced_deployment(namespace, body)
    control_plane.settle(namespace, "chosen", 2)

    assert len(seen(cluster, TargetRef(namespace, "chosen")).pods) == 2


def test_pods_of_a_deployment_that_selects_by_the_routable_label_cannot_be_cordoned(
    control_plane: Access, cluster: KubernetesCluster, namespace: str
) -> None:
    """The ReplicaSet would let a cordoned pod go and make another."""
    body = deployment("selects", 1)
    body["spec"]["selector"]["matchLabels"][ROUTABLE] = "true"
    control_plane.apps.create_namespaced_deployment(namespace, body)
    control_plane.settle(namespace, "selects", 1)

    [pod] = seen(cluster, TargetRef(namespace, "selects")).pods

    assert (pod.routable, pod.labelled) == (True, False)


def test_it_scales_up_and_down(
    control_plane: Access, cluster: KubernetesCluster, app: TargetRef
) -> None:
    cluster.scale(seen(cluster, app), 5)
    control_plane.settle(app.namespace, app.deployment, 5)
    assert sum(pod.serving for pod in seen(cluster, app).pods) == 5

    cluster.scale(seen(cluster, app), 1)
    control_plane.settle(app.namespace, app.deployment, 1)
    assert sum(pod.serving for pod in seen(cluster, app).pods) == 1


def test_what_changed_since_it_was_read_is_a_conflict(
    control_plane: Access, cluster: KubernetesCluster, app: TargetRef
) -> None:
    old = seen(cluster, app)
    cluster.scale(old, 4)

    with pytest.raises(ConflictError, match="has changed since it was read"):
        cluster.scale(old, 5)
    control_plane.settle(app.namespace, app.deployment, 4)


def test_what_the_server_finds_wrong_is_refused_and_changes_nothing(
    cluster: KubernetesCluster, app: TargetRef
) -> None:
    with pytest.raises(RefusedError, match="HTTP 422"):
        cluster.scale(seen(cluster, app), -1)

    assert seen(cluster, app).replicas == 3


def test_a_dry_run_is_checked_by_the_server_and_changes_nothing(
    cluster: KubernetesCluster, app: TargetRef
) -> None:
    cluster.scale(seen(cluster, app), 9, dry_run=True)

    assert seen(cluster, app).replicas == 3


def test_a_new_template_is_a_rollout_and_a_change_of_the_count_is_none(
    control_plane: Access, cluster: KubernetesCluster, app: TargetRef, node: ScriptedNode
) -> None:
    node.ready_after = 600.0
    cluster.scale(seen(cluster, app), 4)
    assert not seen(cluster, app).rollout_in_progress or _settles(cluster, app)

    template = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
    control_plane.apps.patch_namespaced_deployment(app.deployment, app.namespace, template)
    wait_until(lambda: seen(cluster, app).rollout_in_progress, WITHIN, "the rollout to be seen")
    node.reset()
    wait_until(lambda: not seen(cluster, app).rollout_in_progress, WITHIN, "the rollout to end")


def _settles(cluster: KubernetesCluster, app: TargetRef) -> bool:
    """The generation is ahead for the moment until the Deployment controller has looked."""
    settled = lambda: not seen(cluster, app).rollout_in_progress  # noqa: E731
    wait_until(settled, WITHIN, "the new count to be seen")
    return True


def test_a_missing_deployment_names_what_to_change(
    cluster: KubernetesCluster, namespace: str
) -> None:
    ref = TargetRef(namespace, "nowhere")
    error = cluster.observe([ref])[ref]

    assert isinstance(error, TargetNotFoundError)
    assert str(error) == (
        f"there is no Deployment nowhere in namespace {namespace}; create it, or change the target "
        "of the policy"
    )


def test_a_deployment_that_is_deleted_and_made_again_has_another_uid(
    control_plane: Access, cluster: KubernetesCluster, app: TargetRef
) -> None:
    before = seen(cluster, app)
    control_plane.apps.delete_namespaced_deployment(app.deployment, app.namespace)
    wait_until(
        lambda: not isinstance(cluster.observe([app])[app], TargetState), WITHIN, "the deletion"
    )
    with pytest.raises(TargetNotFoundError):
        cluster.scale(before, 5)

    control_plane.apps.create_namespaced_deployment(app.namespace, deployment("bokeh-app", 2))
    control_plane.settle(app.namespace, app.deployment, 2)

    assert seen(cluster, app).uid != before.uid


def test_an_hpa_with_the_same_target_is_a_rival_until_it_is_gone(
    control_plane: Access, cluster: KubernetesCluster, app: TargetRef
) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": app.deployment}
    hpa = {"metadata": {"name": "by-cpu"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}}
    hpas = client.AutoscalingV2Api(control_plane.api)
    assert seen(cluster, app).other_autoscaler is None

    hpas.create_namespaced_horizontal_pod_autoscaler(app.namespace, hpa)
    wait_until(
        lambda: seen(cluster, app).other_autoscaler is not None, WITHIN, "the HPA to be seen"
    )
    assert seen(cluster, app).other_autoscaler == "HorizontalPodAutoscaler by-cpu"

    hpas.delete_namespaced_horizontal_pod_autoscaler("by-cpu", app.namespace)
    wait_until(lambda: seen(cluster, app).other_autoscaler is None, WITHIN, "the HPA to be gone")


def test_what_is_noted_on_a_pod_is_there_and_is_taken_back(
    control_plane: Access, cluster: KubernetesCluster, app: TargetRef
) -> None:
    def carried(name: str) -> tuple[dict[str, str], dict[str, str]]:
        metadata = control_plane.core.read_namespaced_pod(name, app.namespace).metadata
        return metadata.labels, metadata.annotations or {}

    state = seen(cluster, app)
    name, at = state.pods[0].name, 1_800_000_000.0
    before = carried(name)

    marked = PodMarks(routable=False, cordon=Cordon(Cause.SCALE_DOWN, at), cost=-5, protected=True)
    cluster.mark_pod(state, state.pods[0], marked)
    labels, notes = carried(name)
    assert labels[ROUTABLE] == "false"
    assert PROTECTED.items() <= notes.items()
    assert notes[DELETION_COST] == "-5"
    (pod,) = [each for each in seen(cluster, app).pods if each.name == name]
    assert (pod.routable, pod.cordon, pod.deletion_cost) == (False, marked.cordon, -5)
    assert pod.cost_is_ours
    assert pod.protected

    cluster.mark_pod(seen(cluster, app), pod, PodMarks(routable=True))
    assert carried(name) == before


def test_a_mark_undoes_nothing_that_somebody_else_wrote_meanwhile(
    control_plane: Access, cluster: KubernetesCluster, app: TargetRef
) -> None:
    """The label set back lets users in; an uncordon waits for nothing."""
    cordoned = PodMarks(routable=False, cordon=Cordon(Cause.SCALE_DOWN, 1_800_000_000.0))
    state = seen(cluster, app)
    name = state.pods[0].name
    cluster.mark_pod(state, state.pods[0], cordoned)
    (read,) = [each for each in seen(cluster, app).pods if each.name == name]

    back = {"metadata": {"labels": {ROUTABLE: "true"}}}
    control_plane.core.patch_namespaced_pod(name, app.namespace, back)
    with pytest.raises(ConflictError, match="has changed since it was read"):
        cluster.mark_pod(state, read, cordoned._replace(cost=-5))
    pod = control_plane.core.read_namespaced_pod(name, app.namespace)
    assert pod.metadata.labels[ROUTABLE] == "true"
    assert DELETION_COST not in pod.metadata.annotations

    cluster.mark_pod(state, read, PodMarks(routable=True))
    assert CORDONED_AT not in (
        control_plane.core.read_namespaced_pod(name, app.namespace).metadata.annotations or {}
    )


def test_who_writes_deletion_costs_beside_us_is_named(
    control_plane: Access, cluster: KubernetesCluster, app: TargetRef
) -> None:
    state = seen(cluster, app)
    patch = {"metadata": {"annotations": {DELETION_COST: "-9"}}}
    control_plane.core.patch_namespaced_pod(
        state.pods[0].name, app.namespace, patch, field_manager="karpenter"
    )

    (pod,) = [each for each in seen(cluster, app).pods if each.uid == state.pods[0].uid]

    assert (pod.deletion_cost, pod.cost_is_ours, pod.cost_writer) == (-9, False, "karpenter")


def test_an_event_is_left_on_the_deployment(
    control_plane: Access, cluster: KubernetesCluster, app: TargetRef
) -> None:
    state = seen(cluster, app)
    cluster.announce(
        state.ref, state.uid, "ScaleUpLimit", "dashboards: 3 -> 5 replicas", warning=False
    )

    where = f"involvedObject.uid={state.uid},reason=ScaleUpLimit"
    events = control_plane.core.list_namespaced_event(app.namespace, field_selector=where).items
    assert [(event.message, event.type) for event in events] == [
        ("dashboards: 3 -> 5 replicas", "Normal")
    ]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("dash.v2", id="with a dot"),
        pytest.param(f"{'a' * 199}.b", id="with a dot where the name of an Event is cut off"),
    ],
)
def test_a_deployment_may_have_dots_in_its_name(
    control_plane: Access, cluster: KubernetesCluster, namespace: str, name: str
) -> None:
    made = deployment("bokeh-app", 1)
    made["metadata"]["name"] = name
    control_plane.apps.create_namespaced_deployment(namespace, made)
    control_plane.settle(namespace, name, 1)
    ref = TargetRef(namespace, name)

    cluster.scale(seen(cluster, ref), 2)
    control_plane.settle(namespace, name, 2)
    state = seen(cluster, ref)
    cluster.announce(
        state.ref, state.uid, "ScaleUpLimit", "dashboards: 1 -> 2 replicas", warning=False
    )

    where = f"involvedObject.uid={state.uid},reason=ScaleUpLimit"
    assert control_plane.core.list_namespaced_event(namespace, field_selector=where).items


def test_an_api_that_is_gone_is_one_line(control_plane: Access, namespace: str) -> None:
    dead = control_plane.kubeconfig("none", "dead")
    dead.write_text(re.sub(r"server: \S+", "server: https://127.0.0.1:1", dead.read_text()))
    ref = TargetRef(namespace, "bokeh-app")

    error = KubernetesCluster.connect(dead).observe([ref])[ref]

    assert isinstance(error, ClusterError)
    assert "no answer from the Kubernetes API" in str(error)
    assert "\n" not in str(error)
