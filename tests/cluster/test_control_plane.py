"""The real controllers act on pods of the scripted node as they do on any other."""

from __future__ import annotations

import pytest

from tests.cluster.access import Access
from tests.cluster.objects import deployment
from tests.cluster.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.control_plane]


def test_a_deployment_of_three_gets_three_ready_pods(control_plane: Access, namespace: str) -> None:
    apps = control_plane.apps
    apps.create_namespaced_deployment(namespace, deployment("bokeh-app", 3))
    wait_until(
        lambda: apps.read_namespaced_deployment("bokeh-app", namespace).status.ready_replicas == 3,
        20,
        "three Ready pods",
    )
