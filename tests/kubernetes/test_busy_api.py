"""All targets scale at once, and the API server is busy: it is asked again when it said so."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing

import pytest

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
from autoscaler.adapters.kubernetes.deadline import retry_after
from autoscaler.adapters.kubernetes.leases import KubernetesLeases
from autoscaler.adapters.kubernetes.watched_cluster import WatchedCluster
from autoscaler.adapters.sidecars import HttpSidecars
from autoscaler.control.controller import Controller
from autoscaler.core.lease import Lease, Place
from autoscaler.errors import ThrottledError
from autoscaler.model import Reason, Sample
from autoscaler.policy import Policy
from autoscaler.ports import Readings, Signal, TargetState
from tests.builders import policy
from tests.fakes import FakePolicies
from tests.lab.access import Access, raw
from tests.lab.api_proxy import RETRY_AFTER, ApiProxy, Request
from tests.lab.objects import deployment
from tests.lab.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.control_plane, pytest.mark.timeout(300)]
DEPLOYMENTS = 50


class FullPods:
    """Implements `ports.MetricsSource`: each pod of the first ones has 25 sessions."""

    def __init__(self) -> None:
        self.pods: list[tuple[str, str]] = []

    def read(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
    ) -> Readings:
        return Readings({("sessions", "exporter"): {pod: Sample(25, now) for pod in self.pods}})


def writes_of_pods_and_scales(request: Request) -> bool:
    return request.verb == "patch" and "/leases/" not in request.path


@pytest.fixture
def policies(control_plane: Access, namespace: str) -> tuple[Policy, ...]:
    names = [f"app-{number}" for number in range(DEPLOYMENTS)]
    for name in names:
        control_plane.apps.create_namespaced_deployment(namespace, deployment(name))
    return tuple(
        policy(name=name, target={"namespace": namespace, "deployment": name}, interval="1s")
        for name in names
    )


@pytest.fixture
def sessions(control_plane: Access, namespace: str, policies: tuple[Policy, ...]) -> FullPods:
    sessions = FullPods()

    def all_run() -> bool:
        pods = raw(control_plane.core.list_namespaced_pod, namespace)["items"]
        running = [pod for pod in pods if pod["status"].get("phase") == "Running"]
        sessions.pods = [(namespace, pod["metadata"]["name"]) for pod in running]
        return len(running) == DEPLOYMENTS

    wait_until(all_run, 120, "all pods to run")
    return sessions


def replicas(control_plane: Access, namespace: str) -> list[int]:
    found = raw(control_plane.apps.list_namespaced_deployment, namespace)["items"]
    return [each["spec"]["replicas"] for each in found]


def test_fifty_targets_that_scale_while_the_api_server_is_busy_all_scale_once_it_is_not(
    control_plane: Access,
    proxy: ApiProxy,
    namespace: str,
    policies: tuple[Policy, ...],
    sessions: FullPods,
) -> None:
    clock = SystemClock()
    api = KubernetesCluster.connect(proxy.kubeconfig(control_plane.admin), clock=clock)
    leases = KubernetesLeases(api.api, namespace, "bokeh-autoscaler")
    place = Place(namespace, "bokeh-autoscaler-0")
    with closing(WatchedCluster(api, clock)) as cluster:
        controller = Controller(
            FakePolicies(policies), sessions, cluster, HttpSidecars(9), clock, patience=None
        )
        refused = proxy.be_busy(writes_of_pods_and_scales)
        lease = leases.write(place, Lease("me"), taken=True)
        for _ in range(3):
            refused.clear()
            outcomes = controller.run_pass().outcomes
            assert len(refused) <= 8, "those that were under way when the first one failed"
            lease = leases.write(place, lease, taken=False)  # a busy server costs no leadership
            reasons = {each.decision.reason for each in outcomes if each.decision is not None}
            assert reasons == {Reason.WRITES_LIMITED}
            time.sleep(RETRY_AFTER)
        assert set(replicas(control_plane, namespace)) == {1}

        proxy.behave()
        for _ in range(30):
            controller.run_pass()
            time.sleep(1.0)
            if set(replicas(control_plane, namespace)) == {3}:
                break
        controller.settle()
    assert set(replicas(control_plane, namespace)) == {3}


def test_what_the_api_server_asks_for_is_heeded_by_reads_too(
    control_plane: Access, proxy: ApiProxy, namespace: str, policies: tuple[Policy, ...]
) -> None:
    api = KubernetesCluster.connect(proxy.kubeconfig(control_plane.admin))
    refused = proxy.be_busy(lambda request: request.verb == "list")
    ref = policies[0].target.ref

    first, second = api.read_target(ref), api.read_target(ref)

    assert isinstance(first, ThrottledError)
    assert "cannot list deployments" in str(first)
    assert "HTTP 429" in str(first)
    assert first.retry_after == RETRY_AFTER
    assert isinstance(second, ThrottledError)
    assert "it asked to wait" in str(second)
    assert len(refused) == 1, "the second one was not sent"

    proxy.behave()
    wait_until(lambda: isinstance(api.read_target(ref), TargetState), 30, "an answer")


def test_a_wait_that_is_not_a_number_is_none() -> None:
    assert retry_after("nan") == 0.0
