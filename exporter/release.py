"""Which release of this package runs: its version, and the commit that it was built from.

`hatch_build.py` writes the commit into every wheel and sdist. A checkout asks git each time, and
what is neither, such as a copy of a folder, names no commit. Nothing here fails without git.
"""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = "bokeh-autoscaler"
BUILT_FROM = Path(__file__).with_name("COMMIT")
GIT_SECONDS = 5.0


@cache
def own_version() -> str:
    """Return the installed version of this package, or "" when it runs from a copy."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return ""


@cache
def own_commit() -> str:
    """Return the commit that this package was built from, or "" when nobody knows it.

    It has 12 digits, and ends in `-dirty` if the tree had changes that were not committed.
    """
    if BUILT_FROM.is_file():
        return BUILT_FROM.read_text().strip()
    return commit_of(Path(__file__).resolve().parents[1])


def version_text() -> str:
    """Return the version for people, as `0.1.0 (commit 1a2b3c4d5e6f)`."""
    commit = own_commit()
    return (own_version() or "unknown version") + (f" (commit {commit})" if commit else "")


def commit_of(checkout: Path) -> str:
    """Return the commit of a checkout, with `-dirty` if it has changes, or "" if it is none.

    Only a repository of this very folder counts: an environment may lie within another one.
    """
    if not (checkout / ".git").exists():
        return ""
    try:
        commit = _git(checkout, "rev-parse", "--short=12", "HEAD")
        changes = _git(checkout, "status", "--porcelain")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit}-dirty" if changes else commit


def _git(checkout: Path, *words: str) -> str:
    place = (f"--git-dir={checkout / '.git'}", f"--work-tree={checkout}")
    done = subprocess.run(
        ["git", "--no-optional-locks", *place, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=GIT_SECONDS,
    )
    return done.stdout.strip()
