"""kubectl, our manifests as it renders them, and a control plane that is asked to take them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.chart import helm
from tests.deploy.manifests import OTHERS, STICKY, Object, kubectl, overlay, render
from tests.deploy.operators import NAMESPACE, Operator
from tests.deploy.pages import ADOPT_PAGE, files
from tests.lab.build import KUBERNETES, installed
from tests.lab.control_plane import ControlPlane

HOW = "`make parts` builds it (Go 1.26 or PyPI, 5 min once), or set KUBEBUILDER_ASSETS"


@pytest.fixture(scope="session", name="kubectl")
def _kubectl() -> Path:
    program = kubectl()
    if program is None:
        pytest.skip(f"NO KUBECTL: {HOW}")
    return program


@pytest.fixture(scope="session", name="helm")
def _helm() -> Path:
    program = helm()
    if program is None:
        pytest.skip("NO HELM: `make parts` builds it (Go 1.26 or PyPI, 80 s once)")
    return program


@pytest.fixture(scope="session", params=STICKY)
def everything(
    request: pytest.FixtureRequest, kubectl: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Object]:
    """The base with every component, but only one proxy."""
    folder = tmp_path_factory.mktemp("everything")
    return render(kubectl, overlay(folder, [*OTHERS, request.param]))


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One for each file: base and chart have objects of the same names outside namespaces."""
    programs = installed(KUBERNETES)
    if programs is None:
        pytest.skip(f"NO KUBERNETES CONTROL PLANE: {HOW}")
    with ControlPlane(programs, tmp_path_factory.mktemp("control-plane")) as started:
        yield started


@pytest.fixture
def operator(control_plane: ControlPlane, kubectl: Path, tmp_path: Path) -> Operator:
    """The app of the page is not there yet."""
    for name, text in files(ADOPT_PAGE).items():
        (tmp_path / name).write_text(text)
    operator = Operator(tmp_path, control_plane, kubectl)
    operator.run(
        f"kubectl create namespace {NAMESPACE} --dry-run=client -o yaml | kubectl apply -f -"
    )
    operator.run(f"kubectl -n {NAMESPACE} delete deployment --all --wait=true")
    return operator
