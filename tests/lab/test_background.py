"""A command in the background of all others is still one that a terminal and make can end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

BACKGROUND = [sys.executable, "-m", "tests.lab.background"]


def test_it_yields_to_everybody_else() -> None:
    script = "import os; print(os.nice(0), os.getsid(0) == os.getpid())"
    said = subprocess.check_output([*BACKGROUND, sys.executable, "-c", script], text=True)
    assert said.split() == ["19", "True"]


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="NO AUTOGROUPS here")
def test_its_session_yields_too() -> None:
    said = subprocess.check_output([*BACKGROUND, "cat", "/proc/self/autogroup"], text=True)
    assert said.endswith("nice 19\n")


@pytest.mark.parametrize("code", [0, 5])
def test_its_exit_code_is_the_commands(code: int) -> None:
    ended = subprocess.run([*BACKGROUND, "sh", "-c", f"exit {code}"], check=False)
    assert ended.returncode == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_ends_it_ends_the_command(number: signal.Signals) -> None:
    script = "trap 'exit 3' INT TERM; echo there; while :; do sleep 0.1; done"
    command = [*BACKGROUND, "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        os.kill(process.pid, number)
        assert process.wait(20) == 3
