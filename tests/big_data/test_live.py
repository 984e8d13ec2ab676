"""`make big-data` starts all of it, says where, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.lab.big_data_environment import ENVIRONMENT
from tests.lab.images import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


def test_both_servers_are_there_until_they_are_told_to_stop(python: str, tmp_path: Path) -> None:
    # A cache of its own for the points, with the packages that are there already.
    (tmp_path / ENVIRONMENT.folder.name).symlink_to(ENVIRONMENT.folder)
    command = [sys.executable, "-m", "tests.lab.live_big_data", "--points", "20000"]
    variables = {**os.environ, "BOKEH_AUTOSCALER_CACHE": str(tmp_path)}
    with subprocess.Popen(
        command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            urls = [process.stdout.readline().split()[-1] for _ in range(3)]
            for url in urls:
                with urllib.request.urlopen(url, timeout=120) as answer:
                    assert answer.status == 200
        finally:  # whatever happened above, nothing stays behind
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=120)

    assert process.returncode == 0, said
    for url in urls:
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(url, timeout=5)
