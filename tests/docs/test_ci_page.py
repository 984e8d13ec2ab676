"""What the page prints for a pipeline is run, and stops the edits that it says it stops."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.pages import CI_PAGE, blocks, commands

ROOT = CI_PAGE.parents[1]
EDITED = "policies/sessions.yaml"
GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
INSTALL = "pip install"
USERS, EVERY, STAY = 240, timedelta(seconds=30), timedelta(minutes=40)
WELL, MISSED, WRONG = 0, 1, 2
Edit = Callable[[str], str]


def lines() -> list[str]:
    """The commands of the pipeline of GitHub."""
    github, _ = map(yaml.safe_load, blocks(CI_PAGE, "yaml"))
    steps = github["jobs"]["simulate"]["steps"]
    return [step["run"] for step in steps if "run" in step]


def test_both_pipelines_run_the_same_commands() -> None:
    _, gitlab = map(yaml.safe_load, blocks(CI_PAGE, "yaml"))

    assert gitlab["simulate"]["script"] == lines()
    assert lines()[0].startswith(INSTALL)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone whose main branch has the policy as we ship it, and the visits of one morning."""
    (tmp_path / "policies").mkdir()
    (tmp_path / EDITED).write_text((ROOT / EDITED).read_text())
    first = datetime(2026, 1, 12, 8)  # noqa: DTZ001 - as in a log: without an offset
    begun = [first + number * EVERY for number in range(USERS)]
    ended = [each + STAY + timedelta(minutes=n % 30) for n, each in enumerate(begun)]
    rows = [f"u{n},{a},{b}\n" for n, (a, b) in enumerate(zip(begun, ended, strict=True))]
    with gzip.open(tmp_path / "visits.csv.gz", "wt") as file:
        file.write("user,started,ended\n" + "".join(rows))
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*GIT, *words], cwd=tmp_path, check=True)
    main = ["update-ref", "refs/remotes/origin/main", "HEAD"]
    subprocess.run(["git", *main], cwd=tmp_path, check=True)
    return tmp_path


def run(line: str, folder: Path) -> Any:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-ec", line],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


EDITS: dict[str, tuple[Edit, int, str]] = {
    "none": (lambda text: text, WELL, ""),
    "more spare seats": (lambda text: text.replace("refuse: 0.1%", "refuse: 0.05%"), WELL, ""),
    "fewer replicas": (
        lambda text: text.replace("max: 20", "max: 3"),
        MISSED,
        blocks(CI_PAGE, "text")[0],
    ),
    "a wrong key": (lambda text: text.replace("replicas:", "repliicas:"), WRONG, f"{EDITED}:13: "),
}


@pytest.mark.slow
@pytest.mark.parametrize(("edit", "code", "said"), EDITS.values(), ids=EDITS)
def test_an_edit_passes_or_stops_as_the_page_says(
    repository: Path, edit: Edit, code: int, said: str
) -> None:
    file = repository / EDITED
    file.write_text(edit(file.read_text()))

    for line in lines()[1:]:
        done = run(line, repository)
        if done.returncode:
            break

    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert (code == WRONG) != (repository / "simulation.html").exists()


@pytest.mark.slow
def test_the_printed_loop_stops_at_a_policy_that_misses_its_goal(repository: Path) -> None:
    [loop] = commands(CI_PAGE)
    short = loop.replace("--assert", "--workload class-of-200 --assert")
    assert run(short, repository).returncode == WELL

    done = run(short.replace("cut == 0", "peak_replicas < 1"), repository)

    assert done.returncode == MISSED
    assert "peak_replicas" in done.stderr
