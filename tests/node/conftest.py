"""Tests on a real node; they run inside one, or against the cluster that KUBECONFIG names."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.access import Access
from tests.lab.websocket_user import Users
from tests.lab.worker_node import SOCKET
from tests.node.adopting import Newcomers
from tests.node.shipped import PATIENCE, Shipped

HOW = "`python -m tests.lab.real_node --stack -- python -m pytest -m node`, or set KUBECONFIG"
Kubectl = Callable[..., str]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    """A cluster whose pods really run, as its administrator reaches it."""
    given = os.environ.get("KUBECONFIG")
    if not given:
        pytest.skip(f"NO KUBERNETES NODE: {HOW}")
    access = Access(Path(given), tmp_path_factory.mktemp("cluster"))
    yield access
    access.close()


@pytest.fixture
def namespace(cluster: Access) -> Iterator[str]:
    """A fresh namespace that ends with the test."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.create_namespace(name)
    yield name
    cluster.delete_namespace(name)


@pytest.fixture
def kubectl(namespace: str) -> Kubectl:
    """Runs kubectl in the test's namespace and gives what it prints."""

    def run(*words: str) -> str:
        result = subprocess.run(
            ["kubectl", "--namespace", namespace, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert result.returncode == 0, f"kubectl {' '.join(words)}: {result.stderr}"
        return result.stdout

    return run


@pytest.fixture(scope="session")
def shipped(cluster: Access) -> Iterator[Shipped]:
    """Our manifests as applied by `kubectl apply -k`; all tests of the session share them."""
    if not names_resolve():
        pytest.skip("NO WAY TO THE PODS by name from here: tests with real users need one")
    with Users(PATIENCE) as users:
        yield Shipped(cluster, users, ours=is_ours(cluster))


@pytest.fixture
def newcomers(shipped: Shipped) -> Iterator[Newcomers]:
    """Users who come while an app is adopted."""
    newcomers = Newcomers(shipped)
    yield newcomers
    newcomers.leave()


@pytest.fixture(scope="session")
def busybox(cluster: Access) -> str:
    """An image with /bin/busybox and /bin/sh: our node has it without a registry."""
    return "localhost/pause:1" if is_ours(cluster) else "busybox:1.36"


@pytest.fixture(scope="session")
def python_image(cluster: Access) -> str:
    """An image with python3."""
    return "localhost/bokeh-exporter:test" if is_ours(cluster) else "python:3.12-slim"


def is_ours(cluster: Access) -> bool:
    """Whether this is the node of `tests.lab.real_node`, which pulls nothing."""
    return (cluster.admin.parent / "node-1" / SOCKET).exists()


def names_resolve() -> bool:
    """Whether this machine knows the cluster's Services by name."""
    try:
        return bool(socket.getaddrinfo("kubernetes.default.svc.cluster.local", 443))
    except OSError:
        return False
