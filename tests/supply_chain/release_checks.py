"""What a checkout must be before it is released: one line for each thing that it is not."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from exporter.release import commit_of
from tests.lab import counts

VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
# Where pages print a version of ours: of a wheel's file and of an image that is built.
PRINTED = re.compile(r"bokeh_autoscaler-(\d[\w.]*)-py3|-t bokeh-[\w-]+:(\S+)")


def problems(root: Path, version: str) -> list[str]:
    """All that must be changed before the checkout is released as this version."""
    return [problem for check in CHECKS for problem in check(root, version)]


def clean_tree(root: Path, _: str) -> Iterator[str]:
    """Nothing is left to commit."""
    commit = commit_of(root)
    if not commit:
        yield "no commit is known: release from a checkout, with git"
    elif commit.endswith("-dirty"):
        yield "the tree has changes: commit or remove what `git status` lists"


def new_tag(root: Path, version: str) -> Iterator[str]:
    """The version has not been released."""
    asked = ["git", "-C", str(root), "tag", "--list", f"v{version}"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.stdout.strip():
        yield f"the tag v{version} exists: choose another version"


def changelog(root: Path, version: str) -> Iterator[str]:
    """The changelog has a dated section of the version, with something in it."""
    text = (root / "CHANGELOG.md").read_text()
    heading = rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d$"
    found = re.search(rf"{heading}(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        yield f"CHANGELOG.md has no section: begin it with `## {version} - YYYY-MM-DD`"
    elif "- " not in found[1]:
        yield f"CHANGELOG.md: the section {version} is empty: say what has changed"


def same_versions(root: Path, version: str) -> Iterator[str]:
    """Whatever names a version of ours names this one."""
    for place, found in named_versions(root):
        if found != version:
            yield f"{place} has {found}: write {version}"


def named_versions(root: Path) -> Iterator[tuple[str, str]]:
    """Each place in the checkout that names a version of ours, and that version."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    yield "pyproject.toml: version", project["version"]
    chart = root / "deploy" / "helm" / "bokeh-autoscaler" / "Chart.yaml"
    for key in ("version", "appVersion"):
        yield f"{chart.relative_to(root)}: {key}", yaml.safe_load(chart.read_text())[key]
    for file in sorted((root / "deploy").rglob("kustomization.yaml")):
        for image in yaml.safe_load(file.read_text()).get("images", ()):
            if image["name"].startswith("bokeh-"):
                yield f"{file.relative_to(root)}: {image['name']}", image["newTag"]
    for page in (*sorted((root / "docs").glob("*.md")), *sorted((root / "deploy").rglob("*.md"))):
        for found in PRINTED.finditer(page.read_text()):
            yield f"{page.relative_to(root)}: {found[0]}", found[1] or found[2]


def tested(root: Path, _: str) -> Iterator[str]:
    """The whole suite has passed on this very commit."""
    commit = commit_of(root)
    there = {target for target in counts.TARGETS if counts.passed(root, target)[0] == commit}
    if not commit or not ("test-all" in there or there >= {"test", "test-node"}):
        yield f"the suite has not passed on commit {commit or 'unknown'}: run make test-all"


CHECKS: tuple[Callable[[Path, str], Iterator[str]], ...] = (
    clean_tree,
    new_tag,
    changelog,
    same_versions,
    tested,
)
