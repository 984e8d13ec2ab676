"""The generator makes the same points for the same seed, and goes on where it was interrupted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.lab.big_data_servers import make

pytestmark = pytest.mark.slow

SMALL = ("--points", "2500", "--shard-rows", "1000")


def contents(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
    }


def test_the_same_seed_makes_the_same_files_and_another_makes_others(
    python: str, tmp_path: Path
) -> None:
    for folder, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert make(python, tmp_path / folder, *SMALL, "--seed", seed).returncode == 0

    a, b, c = (contents(tmp_path / folder) for folder in ("a", "b", "c"))
    assert a == b
    assert list(a) == [f"points-0000{number}.parquet" for number in range(3)]
    assert not set(a.values()) & set(c.values())


def test_a_second_run_makes_what_is_missing_cut_short_or_too_much(
    python: str, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    make(python, folder, *SMALL)
    whole = contents(folder)
    make(python, folder, "--points", "4500", "--shard-rows", "1000")
    (folder / "points-00000.parquet").unlink()
    cut = folder / "points-00001.parquet"
    cut.write_bytes(cut.read_bytes()[:-10])

    again = make(python, folder, *SMALL)

    assert contents(folder) == whole
    assert "2.50k/2.50k" in again.stderr  # the progress bar at its end


@pytest.mark.parametrize("points", ["0", "-1", "many", "nan", "1e30"])
def test_a_number_of_points_that_cannot_be_is_refused(
    python: str, tmp_path: Path, points: str
) -> None:
    made = make(python, tmp_path / "data", f"--points={points}")

    assert made.returncode == 2
    assert "expected 1 to 10,000,000,000" in made.stderr
    assert not (tmp_path / "data").exists()


def test_a_folder_that_cannot_be_written_is_one_line(python: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    made = make(python, tmp_path / "file", *SMALL)

    assert made.returncode == 1
    assert made.stderr.startswith("big_data.make: ")
    assert made.stderr.count("\n") == 1
