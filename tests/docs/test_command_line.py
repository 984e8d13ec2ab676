"""The commands of the first page that need nothing but this checkout."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.pages import commands

ROOT = Path(__file__).parents[2]
ALONE = ("autoscaler check", "autoscaler simulate")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "command", [each for each in commands(ROOT / "README.md") if each.startswith(ALONE)]
)
def test_a_command_that_is_printed_works(command: str, tmp_path: Path) -> None:
    (tmp_path / "policies").symlink_to(ROOT / "policies")  # what it writes stays here
    program, *words = shlex.split(command)

    result = subprocess.run(
        [Path(sys.executable).with_name(program), *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout
