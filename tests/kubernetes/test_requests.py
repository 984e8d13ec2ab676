"""How many requests a pass makes: none for each Deployment, or a thousand could not be scaled."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing

import pytest

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
from autoscaler.adapters.kubernetes.watched_cluster import WatchedCluster
from autoscaler.adapters.sidecars import HttpSidecars
from autoscaler.control.controller import Controller
from autoscaler.model import Sample
from autoscaler.ports import Cluster, Readings, Signal
from tests.builders import policy
from tests.fakes import FakePolicies
from tests.lab.access import Access, raw
from tests.lab.api_proxy import ApiProxy
from tests.lab.objects import deployment
from tests.lab.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.control_plane]
DEPLOYMENTS, PASSES = 100, 10
KINDS = 4


class Sessions:
    """Implements `ports.MetricsSource`: each pod has five sessions. pods: namespace and name."""

    def __init__(self) -> None:
        self.pods: list[tuple[str, str]] = []

    def read(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
    ) -> Readings:
        return Readings({("sessions", "exporter"): {pod: Sample(5, now) for pod in self.pods}})


@pytest.fixture
def sessions(control_plane: Access, namespace: str) -> Sessions:
    """A hundred Deployments with one pod each, and their sessions."""
    for number in range(DEPLOYMENTS):
        control_plane.apps.create_namespaced_deployment(namespace, deployment(f"app-{number}"))
    sessions = Sessions()

    def all_run() -> bool:
        pods = raw(control_plane.core.list_namespaced_pod, namespace)["items"]
        running = [pod for pod in pods if pod["status"].get("phase") == "Running"]
        sessions.pods = [(namespace, pod["metadata"]["name"]) for pod in running]
        return len(running) == DEPLOYMENTS

    wait_until(all_run, 60, "all pods to run")
    return sessions


def requests_of_passes(
    cluster: Cluster, clock: SystemClock, proxy: ApiProxy, namespace: str, sessions: Sessions
) -> Counter[str]:
    """By verb, in ten passes over a hundred policies after the first ones."""
    policies = tuple(
        policy(
            name=f"app-{number}",
            target={"namespace": namespace, "deployment": f"app-{number}"},
            interval="1s",
        )
        for number in range(DEPLOYMENTS)
    )
    controller = Controller(FakePolicies(policies), sessions, cluster, HttpSidecars(9), clock)
    for number in range(3 + PASSES):
        if number == 3:  # by then all pods with users are protected
            proxy.requests.clear()
        time.sleep(1.0)
        result = controller.run_pass()
        assert not [outcome.problem for outcome in result.outcomes if outcome.problem]
        assert len(result.outcomes) == DEPLOYMENTS
    return Counter(each.verb for each in proxy.requests)


def test_a_hundred_deployments_at_rest_need_no_list_and_no_write(
    control_plane: Access, proxy: ApiProxy, namespace: str, sessions: Sessions
) -> None:
    clock = SystemClock()
    api = KubernetesCluster.connect(proxy.kubeconfig(control_plane.admin), clock=clock)
    with closing(WatchedCluster(api, clock)) as watched:
        made = requests_of_passes(watched, clock, proxy, namespace, sessions)

    assert made["list"] == 0
    assert set(made) <= {"watch"}
    assert made["watch"] <= 2 * KINDS


def test_commands_with_one_pass_list_and_do_not_watch(
    control_plane: Access, proxy: ApiProxy, namespace: str, sessions: Sessions
) -> None:
    """And so the count of the test above is one that lists would be seen in."""
    clock = SystemClock()
    api = KubernetesCluster.connect(proxy.kubeconfig(control_plane.admin), clock=clock)

    made = requests_of_passes(api, clock, proxy, namespace, sessions)

    assert made == {"list": PASSES * KINDS}
