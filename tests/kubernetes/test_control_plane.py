"""The real controllers act on pods of the scripted node as they do on any other."""

from __future__ import annotations

import time
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ForbiddenException

from tests.lab.access import Access, connected
from tests.lab.objects import ROUTABLE, deployment
from tests.lab.pod_status import Health
from tests.lab.processes import wait_until
from tests.lab.scripted_node import ScriptedNode

pytestmark = [pytest.mark.slow, pytest.mark.control_plane]
APP = "bokeh-app"


def test_a_deployment_of_three_gets_three_ready_pods(control_plane: Access, namespace: str) -> None:
    create(control_plane, namespace, 3)
    assert len(ready(control_plane, namespace, 3)) == 3


def test_a_shrink_takes_exactly_the_pods_at_the_lowest_deletion_cost(
    control_plane: Access, namespace: str
) -> None:
    create(control_plane, namespace, 6)
    names = ready(control_plane, namespace, 6)
    victims, others = set(names[1:5:2]), set(names) - set(names[1:5:2])
    cost = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-100"}}}
    for victim in victims:
        control_plane.core.patch_namespaced_pod(victim, namespace, cost)
    scale(control_plane, namespace, 4)
    wait_until(
        lambda: set(pod_names(control_plane, namespace)) == others, 20, "the two pods to be gone"
    )


@pytest.mark.parametrize(
    ("health", "phase", "waits_for"),
    [
        pytest.param(Health.PENDING, "Pending", "ContainerCreating", id="pulls its image"),
        pytest.param(Health.NOT_READY, "Running", None, id="fails its readiness probe"),
        pytest.param(Health.CRASHED, "Running", "CrashLoopBackOff", id="crashes again and again"),
    ],
)
def test_a_pod_is_what_the_script_says_until_it_says_otherwise(
    control_plane: Access,
    node: ScriptedNode,
    namespace: str,
    health: Health,
    phase: str,
    waits_for: str | None,
) -> None:
    node.hook = lambda _pod: health
    create(control_plane, namespace, 1)
    wait_until(lambda: statuses(control_plane, namespace), 20, "a reported status")
    (status,) = statuses(control_plane, namespace)
    waiting = status.container_statuses[0].state.waiting
    assert (status.phase, waiting and waiting.reason) == (phase, waits_for)
    assert ready_conditions(status) == ["False"]
    node.reset()
    ready(control_plane, namespace, 1)


def test_a_pod_is_ready_no_sooner_than_the_script_says(
    control_plane: Access, node: ScriptedNode, namespace: str
) -> None:
    node.ready_after = 1.0
    began = time.monotonic()
    create(control_plane, namespace, 1)
    ready(control_plane, namespace, 1)
    assert time.monotonic() - began >= 1.0


def test_ready_pods_are_the_endpoints_of_their_service(
    control_plane: Access, namespace: str
) -> None:
    port = {"port": 80, "targetPort": 5006}
    service = {
        "metadata": {"name": "app"},
        "spec": {"selector": {ROUTABLE: "true"}, "ports": [port]},
    }
    control_plane.core.create_namespaced_service(namespace, service)
    create(control_plane, namespace, 2)
    ready(control_plane, namespace, 2)
    addresses = {status.pod_ip for status in statuses(control_plane, namespace)}
    wait_until(
        lambda: endpoint_addresses(control_plane, namespace) == addresses, 20, "two endpoints"
    )


def test_a_service_account_may_do_what_its_role_says_and_nothing_else(
    control_plane: Access, namespace: str
) -> None:
    create(control_plane, namespace, 1)
    rule = {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get"]}
    kubeconfig = control_plane.service_account(namespace, "reader", [rule])
    with connected(kubeconfig) as api:
        apps: Any = client.AppsV1Api(api)
        assert apps.read_namespaced_deployment_scale(APP, namespace).spec.replicas == 1
        with pytest.raises(ForbiddenException, match="cannot patch"):
            apps.patch_namespaced_deployment_scale(APP, namespace, {"spec": {"replicas": 2}})


def create(cluster: Access, namespace: str, replicas: int) -> None:
    cluster.apps.create_namespaced_deployment(namespace, deployment(APP, replicas))


def scale(cluster: Access, namespace: str, replicas: int) -> None:
    change = {"spec": {"replicas": replicas}}
    cluster.apps.patch_namespaced_deployment_scale(APP, namespace, change)


def ready(cluster: Access, namespace: str, replicas: int) -> list[str]:
    """Wait until so many pods are Ready and return the names of all pods, sorted."""
    cluster.settle(namespace, APP, replicas)
    return pod_names(cluster, namespace)


def pod_names(cluster: Access, namespace: str) -> list[str]:
    return sorted(pod.metadata.name for pod in cluster.core.list_namespaced_pod(namespace).items)


def statuses(cluster: Access, namespace: str) -> list[Any]:
    """The status of every pod that the node has reported on."""
    listed = (pod.status for pod in cluster.core.list_namespaced_pod(namespace).items)
    return [status for status in listed if status.container_statuses]


def ready_conditions(status: Any) -> list[str]:
    return [condition.status for condition in status.conditions if condition.type == "Ready"]


def endpoint_addresses(cluster: Access, namespace: str) -> set[str]:
    slices: Any = client.DiscoveryV1Api(cluster.api)
    return {
        address
        for each in slices.list_namespaced_endpoint_slice(namespace).items
        for endpoint in each.endpoints or ()
        for address in endpoint.addresses
    }
