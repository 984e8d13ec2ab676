"""A disk that is full, or a reader that has gone, is one line or none, and an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "what a program writes at once": "schema",
    "what is printed line by line": "check policies",
    "what is longer than a buffer": "completion bash",
}


def ended(words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the shell."""
    program = f"{sys.executable} -m autoscaler.cli"
    return subprocess.run(
        ["/bin/sh", "-c", words.replace("AUTOSCALER", program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("case", COMMANDS)
def test_a_full_disk_is_one_line_and_a_failure(case: str) -> None:
    done = ended(f"AUTOSCALER {COMMANDS[case]} > /dev/full")

    assert done.returncode == 1
    assert done.stderr == "standard output: cannot be written (No space left on device)\n"


@pytest.mark.parametrize("case", COMMANDS)
def test_a_reader_that_has_gone_is_told_nothing(case: str) -> None:
    done = ended(f"{{ AUTOSCALER {COMMANDS[case]}; echo $? >&2; }} | true")

    assert done.stderr in ("141\n", "0\n"), "0 if it was faster than the reader"
