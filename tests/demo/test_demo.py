"""`make demo`, whole: real servers and users, growth, shrink, a report, nothing left behind."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.mostly_idle, pytest.mark.timing_sensitive]

AUTOSCALER = Path(sys.executable).with_name("autoscaler")


def processes_about(word: str) -> list[str]:
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line:
            lines.append(line)
    return lines


def demo(*options: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(AUTOSCALER), "demo", *options]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=170, check=False
    )


@pytest.mark.timeout(200)
def test_the_demo_grows_shrinks_reports_and_leaves_no_process(tmp_path: Path) -> None:
    name = f"demo-{uuid4().hex[:8]}"
    policy = tmp_path / "policy.yaml"
    ready = Path("policies/sessions.yaml").read_text()
    policy.write_text(ready.replace("deployment: bokeh-app", f"deployment: {name}"))

    run = demo("--policy", str(policy), cwd=tmp_path)

    assert run.returncode == 0, run.stdout + run.stderr
    changes = [(int(a), int(b)) for a, b in re.findall(r"(\d+) -> (\d+): ", run.stdout)]
    assert max(after for _, after in changes) in {4, 5}  # on a slow machine pods are late
    assert changes[-1][1] == 2
    assert re.search(r"sessions served +65\n", run.stdout)
    assert re.search(r"sessions cut +0\n", run.stdout)
    page = (tmp_path / "demo-report.html").read_text()
    assert "Demo of policy sessions" in page
    assert "time from second 0" in page  # the policy's time is ahead of every clock
    assert re.search(r"draining \S+ \([1-9]\d* sessions?", run.stdout), "a pod waits for its users"
    assert processes_about(name) == []


def test_the_users_own_app_is_taken_and_a_missing_one_is_one_line(tmp_path: Path) -> None:
    missing = demo("--app", "nowhere.py", cwd=tmp_path)
    assert missing.returncode == 2
    assert missing.stderr == (
        "autoscaler demo: no such file: nowhere.py; set --app to a Bokeh app\n"
    )

    app = tmp_path / "mine.py"
    app.write_text(
        "from bokeh.io import curdoc\nfrom bokeh.models import Div\ncurdoc().add_root(Div())"
    )
    # Without --policy: an editable installation, as of `make install`, finds the checkout's.
    own = demo("--app", str(app), "--seconds", "8", "--users", "5", cwd=tmp_path)

    assert own.returncode == 0, own.stdout + own.stderr
    assert "Scaling mine.py by policy sessions" in own.stdout
    assert "sessions cut                         0" in own.stdout
