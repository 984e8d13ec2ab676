"""Points to serve, and the environment that has the packages of the example."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.lab import big_data_servers as servers
from tests.lab.big_data_environment import ENVIRONMENT

POINTS, SHARD_ROWS = 250_000, 100_000
READ = """
import sys, numpy, pyarrow.dataset
table = pyarrow.dataset.dataset(sys.argv[1]).to_table()
kinds = table["kind"].combine_chunks().cast("string").to_numpy(zero_copy_only=False)
numpy.savez(sys.argv[2], x=table["x"], y=table["y"], kinds=kinds.astype("U1"))
"""


@dataclass(frozen=True)
class Stars:
    """The points as they are in the files, to hold pictures against."""

    x: np.ndarray
    y: np.ndarray
    kinds: np.ndarray
    extent: tuple[tuple[float, float], tuple[float, float]]

    def only(self, *kinds: str) -> Stars:
        wanted = np.isin(self.kinds, kinds)
        return Stars(self.x[wanted], self.y[wanted], self.kinds[wanted], self.extent)

    def are_in(self, levels: np.ndarray) -> bool:
        """Whether a picture of everything shows these: where there are none it is dark."""
        rows, columns = levels.shape
        x_range, y_range = self.extent
        bins = np.histogram2d(self.y, self.x, (rows, columns), (y_range, x_range))[0]
        return bool(np.mean((bins > 0) != (levels > 0)) < 1e-3)  # float32 at a pixel's edge


@pytest.fixture(scope="session")
def python() -> str:
    found = ENVIRONMENT.python()
    if not found:
        pytest.skip(f"NO PACKAGES FOR BIG DATA: {ENVIRONMENT.how}")
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


@pytest.fixture(scope="session")
def stars(python: str, points: Path, tmp_path_factory: pytest.TempPathFactory) -> Stars:
    file = tmp_path_factory.mktemp("stars") / "stars.npz"
    subprocess.run([python, "-c", READ, points, file], check=True)
    read = np.load(file)
    x, y = read["x"], read["y"]
    return Stars(x, y, read["kinds"], ((x.min(), x.max()), (y.min(), y.max())))


@pytest.fixture(scope="module")
def service(python: str, points: Path) -> Iterator[servers.Service]:
    with servers.service(python, points) as started:
        yield started
