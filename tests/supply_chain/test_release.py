"""A release is refused with all its reasons at once, and what is built of it has been tried."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.release import commit_of
from tests.lab import counts
from tests.lab.go import BuildError, output_of
from tests.lab.images import OURS, build_base
from tests.lab.wheels import ROOT, project_version
from tests.supply_chain.release_checks import named_versions, problems

VERSION = project_version()
LINE = "=== 7 passed, 1 skipped in 3.00s ==="
Change = Callable[[Path], object]


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    return output_of(["git", *who, *words], folder).strip()


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--no-verify", "--message", "release")


def edit(name: str, old: str, new: str) -> Change:
    """Replace a text of a file of the checkout, and commit it."""

    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
        commit(folder)
        counts.record(folder, "test-all", LINE)

    return change


def ready(folder: Path, only: tuple[str, ...] = ("",)) -> Path:
    """What git has, or would add, of this checkout, as a commit that is ready to be released.

    only: the beginnings of the files' names.
    """
    try:
        listed = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard")
    except BuildError as error:
        pytest.skip(f"RELEASES ARE NOT TESTED: {error}")
    for name in listed.splitlines():
        if name.startswith(only) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    file = folder / "CHANGELOG.md"
    heading = f"## {VERSION} - 2026-01-02"
    file.write_text(re.sub("^## Unreleased$", heading, file.read_text(), flags=re.MULTILINE))
    git(folder, "init", "--quiet")
    commit(folder)
    counts.record(folder, "test-all", LINE)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """With no more than what the checks read."""
    read = ("pyproject.toml", ".gitignore", "CHANGELOG.md", "deploy/", "docs/")
    return ready(tmp_path / "checkout", read)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return ready(tmp_path / "whole")


def released(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What the command says in that checkout."""
    return subprocess.run(
        [sys.executable, "-m", "tests.supply_chain.release", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_version_that_this_repository_names_is_the_same() -> None:
    assert {version for _, version in named_versions(ROOT)} == {VERSION}


def test_a_commit_that_is_ready_has_no_problem(checkout: Path) -> None:
    assert problems(checkout, VERSION) == []


BASE = "deploy/kubernetes/base/kustomization.yaml"
CHART = "deploy/helm/bokeh-autoscaler/Chart.yaml"
INSTALL = "docs/install.md"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda folder: (folder / "new.py").write_text(""),
            "the tree has changes: commit or remove what `git status` lists",
        ),
        (
            lambda folder: shutil.rmtree(folder / ".git"),
            "no commit is known: release from a checkout, with git",
        ),
        (
            lambda folder: git(folder, "tag", f"v{VERSION}"),
            f"the tag v{VERSION} exists: choose another version",
        ),
        (
            edit("CHANGELOG.md", f"## {VERSION} - 2026-01-02", "## Unreleased"),
            f"CHANGELOG.md has no section: begin it with `## {VERSION} - YYYY-MM-DD`",
        ),
        (
            edit("CHANGELOG.md", " - 2026-01-02\n", " - 2026-01-02\n\n## 0.0.1 - 2025-01-02\n"),
            f"CHANGELOG.md: the section {VERSION} is empty: say what has changed",
        ),
        (
            edit(CHART, f"appVersion: {VERSION}", "appVersion: 0.0.9"),
            f"{CHART}: appVersion has 0.0.9: write {VERSION}",
        ),
        (
            edit(BASE, f"newName: bokeh-example\n    newTag: {VERSION}", "newTag: 0.0.9"),
            f"{BASE}: bokeh-example has 0.0.9: write {VERSION}",
        ),
        (
            edit(INSTALL, f"bokeh_autoscaler-{VERSION}-py3", "bokeh_autoscaler-0.0.9-py3"),
            f"{INSTALL}: bokeh_autoscaler-0.0.9-py3 has 0.0.9: write {VERSION}",
        ),
        (
            edit("deploy/README.md", f"-t bokeh-exporter:{VERSION}", "-t bokeh-exporter:0.0.9"),
            f"deploy/README.md: -t bokeh-exporter:0.0.9 has 0.0.9: write {VERSION}",
        ),
    ],
    ids=[
        "a file is not committed",
        "it is no checkout",
        "the tag exists",
        "the changelog has no section",
        "the section is empty",
        "the chart differs",
        "an image of the manifests differs",
        "a page prints another wheel",
        "a page builds another image",
    ],
)
def test_a_commit_that_is_not_ready_is_told_what_to_change(
    checkout: Path, change: Change, problem: str
) -> None:
    change(checkout)

    assert problem in problems(checkout, VERSION)


def test_a_commit_whose_version_is_another_is_refused(checkout: Path) -> None:
    found = problems(checkout, "9.9.9")

    assert f"pyproject.toml: version has {VERSION}: write 9.9.9" in found


@pytest.mark.parametrize(
    ("targets", "is_tested"),
    [
        ((), False),
        (("test",), False),
        (("test-node",), False),
        (("test", "test-node"), True),
        (("test-all",), True),
    ],
)
def test_only_the_whole_suite_counts(
    checkout: Path, targets: tuple[str, ...], is_tested: bool
) -> None:
    shutil.rmtree(checkout / "build")
    for target in targets:
        counts.record(checkout, target, LINE)

    untested = f"the suite has not passed on commit {commit_of(checkout)}: run make test-all"
    assert problems(checkout, VERSION) == ([] if is_tested else [untested])


def test_a_suite_that_passed_before_the_last_commit_does_not_count(checkout: Path) -> None:
    (checkout / "new.py").write_text("")
    commit(checkout)

    [problem] = problems(checkout, VERSION)
    assert problem.startswith("the suite has not passed on commit")


@pytest.mark.slow
class TestCommand:
    def test_all_problems_are_told_at_once(self, whole: Path) -> None:
        edit(CHART, f"version: {VERSION}", "version: 0.0.9")(whole)
        (whole / "dist").mkdir()
        (whole / "dist" / "old.whl").touch()
        (whole / "new.py").touch()

        done = released(whole, VERSION)

        assert done.returncode == 1
        assert [line.split(":")[2] for line in done.stderr.splitlines()] == [
            " the tree has changes",
            f" {CHART}",
            " the suite has not passed on commit " + commit_of(whole),
            " dist has files, which might be of another commit",
        ]

    def test_a_trial_builds_nothing_and_says_what_is_left(self, whole: Path) -> None:
        done = released(whole, VERSION, "--dry-run")

        assert (done.returncode, done.stderr) == (0, "")
        assert f"make test-all on {commit_of(whole)}: 7 passed, 1 skipped in 3.00s" in done.stdout
        assert "would build and try: image bokeh-exporter, with its SBOM" in done.stdout
        assert f"  * git tag --sign v{VERSION} and push the tag\n" in done.stdout
        assert not (whole / "dist").exists()
        assert git(whole, "status", "--porcelain") == ""

    @pytest.mark.parametrize("words", [[], ["one"], ["1.2"], ["--dry-run"]])
    def test_a_wrong_command_line_is_refused(self, whole: Path, words: list[str]) -> None:
        assert released(whole, *words).returncode == 2


@pytest.mark.slow
@pytest.mark.containers
@pytest.mark.timeout(900)
def test_a_release_has_all_files_with_checksums_and_each_tells_its_commit(whole: Path) -> None:
    try:
        build_base()
    except BuildError as error:
        pytest.skip(f"NO IMAGES ARE BUILT HERE: {error}")

    done = released(whole, VERSION, "--local-base")

    assert done.returncode == 0, done.stderr
    folder = whole / "dist"
    stem = f"bokeh_autoscaler-{VERSION}"
    images = {f"{name}-{VERSION}.tar" for name in OURS}
    bills = {f"{name}.cdx.json" for name in OURS}
    files = {f"{stem}-py3-none-any.whl", f"{stem}.tar.gz", *images, *bills}
    assert {each.name for each in folder.iterdir()} == {*files, "SHA256SUMS"}
    checked = output_of(["sha256sum", "--check", "--strict", "SHA256SUMS"], folder)
    assert set(checked.splitlines()) == {f"{name}: OK" for name in files}
    for name in OURS:
        image = json.loads((folder / f"{name}.cdx.json").read_text())["metadata"]["component"]
        assert (image["name"], image["version"]) == (name, VERSION)
    for name in images:
        (folder / name).unlink()  # three quarters of a gigabyte, which pytest would keep
