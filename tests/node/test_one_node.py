"""The node that the tests make is a node as pods know it: names, tokens, limits, exec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.lab.access import Access
from tests.lab.processes import wait_until
from tests.node.conftest import Kubectl

pytestmark = [pytest.mark.slow, pytest.mark.node]

SOON = 120.0  # seconds; 3 on a node with nothing else to do
STAY = ("/bin/sh", "-c", "exec sleep 3600")
ASK = """
import ssl, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
token = open(folder + "token").read()
context = ssl.create_default_context(cafile=folder + "ca.crt")
request = urllib.request.Request("https://kubernetes.default.svc/api")
request.add_header("Authorization", "Bearer " + token)
print(urllib.request.urlopen(request, timeout=20, context=context).status)
"""


def pod(image: str, command: Sequence[str] = STAY, memory: str = "128Mi") -> dict[str, Any]:
    container = {
        "name": "main",
        "image": image,
        "command": list(command),
        "resources": {"limits": {"memory": memory, "cpu": "1"}},
    }
    spec = {
        "containers": [container],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
    }
    return {"metadata": {"name": "pod"}, "spec": spec}


def is_ready(cluster: Access, namespace: str) -> bool:
    status = cluster.core.read_namespaced_pod("pod", namespace).status
    return any(c.type == "Ready" and c.status == "True" for c in status.conditions or ())


def has_ended(cluster: Access, namespace: str) -> bool:
    status = cluster.core.read_namespaced_pod("pod", namespace).status
    return status.phase in {"Succeeded", "Failed"}


@pytest.fixture
def shell(cluster: Access, namespace: str, busybox: str, kubectl: Kubectl) -> Kubectl:
    """Runs a line of shell in a pod that is Ready."""
    cluster.core.create_namespaced_pod(namespace, pod(busybox))
    wait_until(lambda: is_ready(cluster, namespace), SOON, "the pod to be Ready")
    return lambda line: kubectl("exec", "pod", "--", "/bin/sh", "-c", line)


def test_a_command_runs_in_a_ready_pod(shell: Kubectl) -> None:
    assert shell("hostname") == "pod\n"


def test_a_pod_finds_services_by_name(shell: Kubectl) -> None:
    address = shell("echo $KUBERNETES_SERVICE_HOST").strip()

    assert address in shell("nslookup kubernetes.default.svc.cluster.local")


def test_a_pod_reaches_the_api_server_with_its_token(
    cluster: Access, namespace: str, python_image: str, kubectl: Kubectl
) -> None:
    asking = pod(python_image, ("python3", "-c", ASK))
    cluster.core.create_namespaced_pod(namespace, asking)

    wait_until(lambda: has_ended(cluster, namespace), SOON, "the pod to end")

    assert kubectl("logs", "pod") == "200\n"


def test_what_a_pod_writes_can_be_read(
    cluster: Access, namespace: str, busybox: str, kubectl: Kubectl
) -> None:
    said = pod(busybox, ("/bin/sh", "-c", "echo hello"))
    cluster.core.create_namespaced_pod(namespace, said)

    wait_until(lambda: has_ended(cluster, namespace), SOON, "the pod to end")

    assert kubectl("logs", "pod") == "hello\n"


def test_the_kernel_ends_what_takes_more_memory_than_its_limit(
    cluster: Access, namespace: str, busybox: str
) -> None:
    # tail keeps the last line, and /dev/zero has no second one.
    hungry = pod(busybox, ("/bin/busybox", "tail", "/dev/zero"), memory="32Mi")
    cluster.core.create_namespaced_pod(namespace, hungry)

    def end() -> Any:
        statuses = cluster.core.read_namespaced_pod("pod", namespace).status.container_statuses
        return statuses and statuses[0].state.terminated

    ended = wait_until(end, SOON, "the pod to be killed")

    assert (ended.reason, ended.exit_code) == ("OOMKilled", 137)
