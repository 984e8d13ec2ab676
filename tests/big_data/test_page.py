"""The lines that the page prints for one machine, typed as they stand."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.deploy.pages import BIG_DATA_PAGE, commands, mentioned, run_shell
from tests.lab import browser
from tests.lab.big_data_servers import EXAMPLE, START
from tests.lab.bokeh_servers import wait_until
from tests.lab.images import ROOT
from tests.lab.namespaces import own_network

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

PAGES = ("http://localhost:5006/app", "http://localhost:8000/columns")


def both_answer() -> bool:
    try:
        for each in PAGES:
            with urllib.request.urlopen(each, timeout=60) as answer:
                assert answer.status == 200
    except OSError:
        return False
    return True


def test_points_service_and_app_come_up_by_the_printed_lines(python: str, tmp_path: Path) -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("NO NETWORK OF ITS OWN: the printed ports may be taken; it needs root on Linux")
    folder = tmp_path / "big-data"
    shutil.copytree(EXAMPLE, folder)
    path = f"{Path(python).parent}:{os.environ['PATH']}"
    make, *servers = (each for each in commands(BIG_DATA_PAGE) if "big_data" in each.lower())
    run_shell(make.replace("10_000_000", "20_000"), folder, PATH=path)

    with own_network():
        shell = subprocess.Popen(
            ["sh", "-c", "\n".join(servers)],
            cwd=folder,
            env={**os.environ, "PATH": path},
            start_new_session=True,
        )
        try:
            wait_until(both_answer, "both servers", START)
        finally:
            os.killpg(shell.pid, signal.SIGTERM)
            shell.wait(60)


def test_the_printed_measure_measures_what_its_table_lists(python: str) -> None:
    if browser.driver() is None:
        pytest.skip(f"NO BROWSER: {browser.HOW}")
    [measure] = [each for each in mentioned(BIG_DATA_PAGE) if each.startswith("python -m tests")]
    few = measure.replace("[--points N]", "--points 20000 --turns 1")

    head, *figures = run_shell(few, ROOT).splitlines()

    assert "20,000 points" in head
    table = BIG_DATA_PAGE.read_text().partition("## How fast")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w.+?) \|", table, re.MULTILINE)
    assert rows
    for row in rows:
        measured = rf"{re.escape(row)} +[\d.e+]+ (s|ms|MB)"
        assert any(re.match(measured, each) for each in figures), row
