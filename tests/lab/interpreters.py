"""The Pythons of this machine, on the PATH or kept by pyenv, by their minor version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ASK = "import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != sys.argv[1])"


def interpreter(version: str) -> str:
    """A Python of a version, such as `3.12`, that can make environments; empty if none is here."""
    return next((python for python in _candidates(version) if _is(python, version)), "")


def _candidates(version: str) -> Iterator[str]:
    yield sys.executable
    if found := shutil.which(f"python{version}"):
        yield found
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from map(str, kept.glob(f"{version}.*/bin/python3"))


def _is(python: str, version: str) -> bool:
    asked = [python, "-c", ASK, version]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0
