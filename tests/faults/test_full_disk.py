"""A report that has no room on its disk."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.monitoring import ROOT

pytestmark = [pytest.mark.slow]
ROOM = 20_000  # bytes
LIMITED = f"""
import resource, sys
from autoscaler.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({ROOM}, {resource.RLIM_INFINITY}))
sys.exit(main())
"""


def test_a_report_without_room_is_an_error_and_the_one_before_stays(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("from before")
    policy = ROOT / "policies" / "sessions.yaml"
    words = ["simulate", "--policy", policy, "--html", report]

    run = subprocess.run(
        [sys.executable, "-c", LIMITED, *words], capture_output=True, text=True, check=False
    )

    assert run.returncode == 2
    assert run.stderr.splitlines()[-1] == (
        f"cannot write the report to {report}: File too large; set another --html"
    )
    assert report.read_text() == "from before"
    assert [*tmp_path.iterdir()] == [report]
