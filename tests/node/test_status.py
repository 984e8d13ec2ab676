"""`autoscaler status` on a real node: through the API server's proxy, and by a forwarded port."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.deploy.pages import STATUS_PAGE, commands, run_shell, run_until
from tests.lab.own_programs import write_programs
from tests.lab.processes import wait_until
from tests.node.shipped import APP, SOON, Shipped

pytestmark = [pytest.mark.slow, pytest.mark.node, pytest.mark.timeout(300)]


def test_the_printed_commands_work_on_a_node(shipped: Shipped, tmp_path: Path) -> None:
    programs = write_programs(tmp_path / "bin")
    printed = [each for each in commands(STATUS_PAGE) if "completion" not in each]
    [leader] = [each for each in printed if each.startswith("leader=")]
    [forward] = [each for each in printed if "port-forward" in each]
    asking = [each for each in printed if "autoscaler status" in each]

    path = f"{programs}:{os.environ['PATH']}"

    def shown(command: str) -> str:
        return run_shell(command, tmp_path, PATH=path)

    def is_led() -> bool:
        with suppress(AssertionError):  # nobody leads yet
            return "NotLeader" not in shown("autoscaler status")
        return False

    wait_until(is_led, SOON, "a leader")
    both = ["sh", "-c", f"{leader}; exec {forward}"]
    with subprocess.Popen(both, stdout=subprocess.PIPE, text=True) as forwarding:
        try:
            assert forwarding.stdout is not None
            assert "Forwarding" in forwarding.stdout.readline()
            for command in asking:
                if "--watch" in command:
                    run_until(APP, command, tmp_path, PATH=path)
                else:
                    assert APP in shown(command), command
        finally:
            forwarding.terminate()
