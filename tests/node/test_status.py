"""`autoscaler status` on a real node: through the API server's proxy, and by a forwarded port."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.deploy.pages import STATUS_PAGE, commands, run_shell
from tests.lab.own_programs import write_programs
from tests.lab.processes import wait_until
from tests.node.shipped import APP, SOON, Shipped

pytestmark = [pytest.mark.slow, pytest.mark.node, pytest.mark.timeout(300)]


def test_the_printed_commands_work_on_a_node(shipped: Shipped, tmp_path: Path) -> None:
    programs = write_programs(tmp_path / "bin")
    printed = [each for each in commands(STATUS_PAGE) if "completion" not in each]
    [forward] = [each for each in printed if "port-forward" in each]
    asking = [each for each in printed if "port-forward" not in each]

    def shown(command: str) -> str:
        until = "timeout --preserve-status -s INT 5 " if "--watch" in command else ""
        return run_shell(f"export PATH={programs}:$PATH; {until}{command}", tmp_path)

    wait_until(lambda: "DesiredWithinRange" in shown("autoscaler status"), SOON, "a leader")
    with subprocess.Popen(forward.split(), stdout=subprocess.PIPE, text=True) as forwarding:
        try:
            assert forwarding.stdout is not None
            assert "Forwarding" in forwarding.stdout.readline()
            for command in asking:
                assert APP in shown(command), command
        finally:
            forwarding.terminate()
