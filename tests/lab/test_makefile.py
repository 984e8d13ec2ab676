"""What `make cluster` starts is the child of make, so that a signal to that child ends the node."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.pages import FOLDER

MAKEFILE = FOLDER.parents[1] / "Makefile"
TELLS = "import os; print(os.getppid(), flush=True)\n"


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_no_shell_stays_between_make_and_the_cluster(shell: str, tmp_path: Path) -> None:
    (tmp_path / "cluster.py").write_text(TELLS)
    [recipe] = re.findall(r"^cluster:.*\n((?:\t.*\n)+)", MAKEFILE.read_text(), re.MULTILINE)
    (tmp_path / "Makefile").write_text(f"cluster:\n{recipe}")
    command = ["make", f"SHELL={shell}", f"CLUSTER={sys.executable} cluster.py", "cluster"]
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}

    with subprocess.Popen(
        command, cwd=tmp_path, env={**environment, "CMD": ""}, stdout=subprocess.PIPE, text=True
    ) as make:
        said, _ = make.communicate(timeout=60)

    assert (said, make.returncode) == (f"{make.pid}\n", 0)
