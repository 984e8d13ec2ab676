"""A real API server for every test below: our own control plane, or the one KUBECONFIG names."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.manifests import kubectl
from tests.deploy.pages import run_shell
from tests.lab.access import Access
from tests.lab.api_proxy import ApiProxy
from tests.lab.build import KUBERNETES, installed
from tests.lab.control_plane import ControlPlane
from tests.lab.prometheus_server import PrometheusServer
from tests.lab.scripted_node import ScriptedNode
from tests.lab.world import AUTOSCALER, World, a_world

HOW = "`make parts` builds it (Go 1.26 or PyPI, 5 min once), or set KUBEBUILDER_ASSETS/KUBECONFIG"


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    """An API server with the real controllers behind it, one for the whole run."""
    folder = tmp_path_factory.mktemp("control-plane")
    if given := os.environ.get("KUBECONFIG"):
        access = Access(Path(given), folder)
        yield access
        access.close()
    elif programs := installed(KUBERNETES):
        with ControlPlane(programs, folder) as started:
            yield started
    else:
        pytest.skip(f"NO KUBERNETES CONTROL PLANE: {HOW}")


@pytest.fixture
def namespace(control_plane: Access) -> Iterator[str]:
    """A fresh namespace that ends with the test."""
    name = f"test-{secrets.token_hex(4)}"
    control_plane.create_namespace(name)
    yield name
    control_plane.delete_namespace(name)


@pytest.fixture
def node(control_plane: Access) -> Iterator[ScriptedNode]:
    """The scripted node, for tests that say what becomes of pods; obedient again afterwards."""
    if not isinstance(control_plane, ControlPlane):
        pytest.skip("THE NODE OF A REAL CLUSTER TAKES NO SCRIPT: unset KUBECONFIG")
    yield control_plane.node
    control_plane.node.reset()


@pytest.fixture
def proxy(control_plane: Access) -> Iterator[ApiProxy]:
    """A way to the API server that counts requests, and that tests can cut or silence."""
    if not isinstance(control_plane, ControlPlane):
        pytest.skip("THE KEYS OF A REAL API SERVER ARE ITS OWN: unset KUBECONFIG")
    with ApiProxy(control_plane) as proxy:
        yield proxy


@pytest.fixture
def world(
    control_plane: Access,
    node: ScriptedNode,
    namespace: str,
    prometheus: PrometheusServer,
    tmp_path: Path,
) -> Iterator[World]:
    """A Deployment yet to be made, its users, and our policy for it."""
    node.network = "127.1"
    with a_world(control_plane, namespace, prometheus, tmp_path) as world:
        yield world


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """The file with which a daemon asks sidecars."""
    path = tmp_path / "sidecar-token"
    path.write_text("a-token\n")
    return path


@pytest.fixture
def shell(world: World, tmp_path: Path) -> Callable[[str], str]:
    """Run a printed command as an administrator, in the namespace of the test."""
    program = kubectl()
    if program is None:
        pytest.skip("NO KUBECTL: `make parts` builds it")
    path = f"{program.parent}:{AUTOSCALER.parent}:{os.environ['PATH']}"

    def run(command: str) -> str:
        here = re.sub(r"(-n|--namespace) [a-z-]+", rf"\1 {world.namespace}", command)
        return run_shell(here, tmp_path, PATH=path, KUBECONFIG=str(world.access.admin))

    return run
