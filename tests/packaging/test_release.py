"""The version is told with the commit, wherever the package runs, and never fails without git."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from autoscaler.cli import main
from autoscaler.reporting.metrics import DaemonMetrics
from exporter import cli, release
from exporter.release import commit_of

Change = Callable[[Path], object]


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit."""
    if shutil.which("git") is None:
        pytest.skip("COMMITS ARE NOT TESTED: git is missing")
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "a.py").write_text("a = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--no-verify", "--message", "first")
    return folder


def head(folder: Path) -> str:
    return git(folder, "rev-parse", "--short=12", "HEAD")


def test_a_checkout_names_its_commit(checkout: Path) -> None:
    assert commit_of(checkout) == head(checkout)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a.py").write_text("a = 2\n"),
        lambda folder: (folder / "a.py").unlink(),
        lambda folder: (folder / "b.py").write_text(""),
    ],
    ids=["a file has changed", "a file is deleted", "a file is new"],
)
def test_a_dirty_checkout_says_so(checkout: Path, change: Change) -> None:
    change(checkout)

    assert commit_of(checkout) == f"{head(checkout)}-dirty"


def test_a_worktree_names_its_own_commit(checkout: Path) -> None:
    beside = checkout.with_name("beside")
    git(checkout, "worktree", "add", "--quiet", str(beside))
    (beside / "b.py").write_text("")
    git(beside, "add", ".")
    git(beside, "commit", "--quiet", "--no-verify", "--message", "second")

    assert commit_of(beside) == head(beside) != head(checkout)


def test_the_repository_around_an_environment_is_not_that_of_the_package(checkout: Path) -> None:
    inside = checkout / ".venv" / "site-packages"
    inside.mkdir(parents=True)

    assert commit_of(inside) == ""


def without_a_commit(folder: Path) -> None:
    shutil.rmtree(folder / ".git")
    git(folder, "init", "--quiet")


@pytest.mark.parametrize(
    "break_it",
    [
        lambda folder: shutil.rmtree(folder / ".git" / "objects"),
        lambda folder: (folder / ".git" / "HEAD").write_text("nonsense"),
        without_a_commit,
    ],
    ids=["its objects are gone", "its HEAD is nonsense", "it has no commit"],
)
def test_a_broken_repository_names_no_commit(checkout: Path, break_it: Change) -> None:
    break_it(checkout)

    assert commit_of(checkout) == ""


def test_without_git_no_commit_is_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))

    assert commit_of(checkout) == ""


def test_a_git_that_does_not_answer_is_given_up(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = checkout.with_name("slow") / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(slow.parent), prepend=":")
    monkeypatch.setattr(release, "GIT_SECONDS", 0.1)

    assert commit_of(checkout) == ""


def test_the_exporter_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{release.version_text()}\n"


def test_the_command_line_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{release.version_text()}\n"


def test_a_copy_that_is_no_installation_says_that_it_knows_no_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(release, "own_version", lambda: "")
    monkeypatch.setattr(release, "own_commit", lambda: "")

    assert release.version_text() == "unknown version"


def test_the_daemon_has_version_and_commit_as_a_metric() -> None:
    registry = DaemonMetrics().registry
    labels = {"version": release.own_version(), "commit": release.own_commit()}

    assert registry.get_sample_value("bokeh_autoscaler_info", labels) == 1
