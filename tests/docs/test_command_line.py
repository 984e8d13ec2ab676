"""The commands of the first page that need nothing but this checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.deploy.pages import commands, run_shell

ROOT = Path(__file__).parents[2]
ALONE = ("autoscaler check", "autoscaler simulate")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "command", [each for each in commands(ROOT / "README.md") if each.startswith(ALONE)]
)
def test_a_command_that_is_printed_works(command: str, tmp_path: Path) -> None:
    (tmp_path / "policies").symlink_to(ROOT / "policies")  # what it writes stays here
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    assert run_shell(command, tmp_path, PATH=path)
