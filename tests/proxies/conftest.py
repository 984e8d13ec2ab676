"""Each proxy before the same three Bokeh servers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.build import COREDNS, installed
from tests.lab.processes import Processes
from tests.lab.websocket_user import Users
from tests.proxies.fleet import Fleet
from tests.proxies.name_server import NameServer
from tests.proxies.programs import PROXIES, Proxy


@pytest.fixture(params=PROXIES, ids=lambda kind: kind.name)
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Proxy]:
    """Either proxy, not yet started."""
    name = request.param.name
    if shutil.which(name) is None:
        pytest.skip(f"NO {name.upper()}: `apt-get install {name}` or `make parts` gets it")
    folder = tmp_path / name
    folder.mkdir()
    with Processes(tmp_path) as processes:
        yield request.param(folder, processes)


@pytest.fixture
def name_server(tmp_path: Path) -> Iterator[NameServer]:
    """One that is not yet started."""
    if installed(COREDNS) is None:
        pytest.skip("NO COREDNS: `make parts` builds it as root (2 min once)")
    folder = tmp_path / "dns"
    folder.mkdir()
    with Processes(folder) as processes:
        yield NameServer(folder, processes)


@pytest.fixture(scope="session")
def shared_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.fixture
def fleet(shared_fleet: Fleet) -> Fleet:
    """Three servers without users."""
    shared_fleet.start_stopped()
    shared_fleet.await_connected([0, 0, 0])
    return shared_fleet


@pytest.fixture
def users() -> Iterator[Users]:
    with Users() as users:
        yield users
