"""The lines that the page prints for a machine without `make`, typed as they stand."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.big_data.servers import EXAMPLE, START
from tests.deploy.pages import BIG_DATA_PAGE, commands, run_shell
from tests.exporter.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

PAGES = ("http://localhost:5006/app", "http://localhost:8000/columns")


def network(process: int | str) -> str:
    return str(Path(f"/proc/{process}/ns/net").readlink())


def test_points_service_and_app_come_up_by_the_printed_lines(python: str, tmp_path: Path) -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("NO NETWORK OF ITS OWN: the printed ports may be taken; it needs root on Linux")
    folder = tmp_path / "big-data"
    shutil.copytree(EXAMPLE, folder)
    path = f"{Path(python).parent}:{os.environ['PATH']}"
    make, *servers = (each for each in commands(BIG_DATA_PAGE) if "big_data" in each.lower())
    run_shell(make.replace("10_000_000", "20_000"), folder, PATH=path)

    shell = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "\n".join(["ip link set lo up", *servers])],
        cwd=folder,
        env={**os.environ, "PATH": path},
        start_new_session=True,
    )

    def answer() -> bool:
        ask = ["curl", "--silent", "--fail", "--output", "page", *PAGES]
        enter = ["nsenter", "--net", "--target", str(shell.pid)]
        theirs = network(shell.pid) != network("self")
        return theirs and subprocess.run([*enter, *ask], cwd=folder, check=False).returncode == 0

    try:
        wait_until(answer, "both servers", START)
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(60)
