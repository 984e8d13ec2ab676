"""What "Adopt a running app" says of `replicas`, held to a real API server and the real kubectl."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.deploy.operators import APP, IN_PLACE, NAMESPACE, Operator
from tests.deploy.pages import ADOPT_PAGE, blocks, files
from tests.lab.processes import wait_until

BESIDE = "A second Deployment beside it"
SERVER_SIDE = ("--server-side", "--field-manager=kustomize-controller")


def test_every_file_of_the_page_is_yaml_and_names_the_app() -> None:
    for name, text in files(ADOPT_PAGE).items():
        objects = list(yaml.safe_load_all(text))
        assert any(APP in str(each) for each in objects), name


@pytest.mark.slow
@pytest.mark.control_plane
@pytest.mark.parametrize("how", ["", " ".join(SERVER_SIDE)], ids=["kubectl", "server-side"])
def test_a_manifest_that_loses_its_replicas_sets_one(operator: Operator, how: str) -> None:
    """Why the page has a step for it."""
    operator.run(f"kubectl apply {how} -f dashboards.yaml")
    assert operator.replicas() == 3
    operator.without_replicas()

    operator.run(f"kubectl apply {how} -f dashboards.yaml")

    assert operator.replicas() == 1


@pytest.mark.slow
@pytest.mark.control_plane
def test_the_first_step_in_place_leaves_every_pod_where_it_is(operator: Operator) -> None:
    operator.run("kubectl apply -f dashboards.yaml")
    before = operator.cluster.core.list_namespaced_pod(NAMESPACE).items

    said = operator.run(blocks(ADOPT_PAGE, "sh", IN_PLACE)[0])

    assert said.endswith("3")
    assert operator.replicas() == 3
    operator.run(f"kubectl -n {NAMESPACE} scale deployment/{APP} --replicas=7")
    operator.run("kubectl apply -f dashboards.yaml")
    assert operator.replicas() == 7, "the next apply leaves what the daemon has set"
    after = {pod.metadata.uid for pod in operator.cluster.core.list_namespaced_pod(NAMESPACE).items}
    assert {pod.metadata.uid for pod in before} <= after


@pytest.mark.slow
@pytest.mark.control_plane
@pytest.mark.parametrize("manager", ["kubectl", "kustomize-controller", "argocd-controller"])
def test_a_field_that_is_handed_over_stays_when_it_leaves_the_manifest(
    operator: Operator, manager: str
) -> None:
    server_side = f"kubectl apply --server-side --field-manager={manager} -f dashboards.yaml"
    hand_over = blocks(ADOPT_PAGE, "sh", IN_PLACE)[1].splitlines()[0]
    operator.run(server_side)
    operator.run(hand_over)
    operator.without_replicas()

    operator.run(server_side)

    assert operator.replicas() == 3
    operator.run(f"kubectl -n {NAMESPACE} scale deployment/{APP} --replicas=7")
    operator.run(server_side)
    assert operator.replicas() == 7


@pytest.mark.slow
@pytest.mark.control_plane
def test_the_new_deployment_keeps_what_it_was_scaled_to(operator: Operator) -> None:
    start, *_ = blocks(ADOPT_PAGE, "sh", BESIDE)
    operator.run(start)

    operator.run("kubectl apply -f dashboards-2.yaml")

    found: Any = operator.cluster.apps.read_namespaced_deployment("dashboards-2", NAMESPACE)
    assert found.spec.replicas == 3


@pytest.mark.slow
@pytest.mark.control_plane
def test_the_label_in_the_service_before_any_pod_has_it_leaves_no_pod(operator: Operator) -> None:
    """Why the selector comes last."""
    operator.run("kubectl apply -f dashboards.yaml")
    wait_until(lambda: len(endpoints(operator)) == 3, 30, "three pods behind the Service")
    *_, selector = blocks(ADOPT_PAGE, "sh", IN_PLACE)

    operator.run(selector)

    wait_until(lambda: endpoints(operator) == set(), 30, "no pod behind the Service")


def endpoints(operator: Operator) -> set[str]:
    """The addresses of the ready pods behind the Service."""
    slices = operator.run(
        f"kubectl -n {NAMESPACE} get endpointslices -l kubernetes.io/service-name={APP} -o yaml"
    )
    return {
        address
        for each in yaml.safe_load(slices)["items"]
        for endpoint in each["endpoints"] or ()
        for address in endpoint["addresses"]
        if endpoint["conditions"]["ready"]
    }
