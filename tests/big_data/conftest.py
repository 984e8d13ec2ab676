"""Points to serve, and the environment that has the packages of the example."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.big_data import servers
from tests.big_data.environment import ENVIRONMENT, HOW

POINTS, SHARD_ROWS = 250_000, 100_000


@pytest.fixture(scope="session")
def python() -> str:
    found = ENVIRONMENT.python()
    if not found:
        pytest.skip(f"NO PACKAGES FOR BIG DATA: {HOW}")
    return found


@pytest.fixture(scope="session")
def points(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three shards, the last of them half as large."""
    folder = tmp_path_factory.mktemp("points") / "data"
    made = servers.make(
        python, folder, "--points", str(POINTS), "--shard-rows", str(SHARD_ROWS), "--seed", "7"
    )
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def service(python: str, points: Path) -> Iterator[servers.Service]:
    with servers.service(python, points) as started:
        yield started
