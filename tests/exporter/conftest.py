"""What tests of agents and collectors share: a name of their own, and each release of Bokeh."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator

import pytest

from tests.exporter.handing import Shared, created, settled, workers
from tests.lab import newer_bokeh
from tests.lab.bokeh_servers import Served

RELEASES = {"this Bokeh": sys.executable, "Bokeh 3.10": newer_bokeh.given()}


@pytest.fixture
def instance() -> str:
    """The name that keeps a test's agents apart from all others."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture(params=RELEASES.values(), ids=RELEASES)
def python(request: pytest.FixtureRequest) -> str:
    """The Python of each release of Bokeh that the agent works with."""
    found: str = request.param
    if not found:
        pytest.skip("BOKEH 3.10 WAS NOT TESTED: `make parts` gets it where a Python 3.12 is")
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with workers(tmp_path_factory.mktemp("workers")) as server:
        yield server


@pytest.fixture
def shared(running: Served) -> Shared:
    """Four workers without users, for tests that end none of them and count from the start."""
    settled(running, 0)
    return Shared(running, created(running))
