"""Builds the site of the pages: `make docs`. docs/conf.py has its settings."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.lab.docs_environment import ENVIRONMENT

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "docs"
# Each warning, also of an unknown link, fails the build, and no page is taken from an earlier one.
STRICT = ("--fail-on-warning", "--nitpicky", "--fresh-env", "--quiet")


def build(python: str, folder: Path) -> str:
    """Build the site into an empty folder with a Python that has Sphinx.

    Returns what is wrong with the pages, a warning a line; empty when it is built.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        places = ("--conf-dir", ROOT / "docs", "--doctree-dir", scratch, ROOT, folder)
        command = [python, "-m", "sphinx", *STRICT, *map(str, places)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def main() -> int:
    """Print where the first page is, or why there is none. Return the exit code."""
    if problem := ENVIRONMENT.get():
        print(f"no packages to build the site: {problem}", file=sys.stderr)
        return 1
    if problem := build(ENVIRONMENT.python(), FOLDER):
        print(problem, file=sys.stderr)
        return 1
    print(FOLDER / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
