"""Bokeh 3.10, which asks for Python 3.12, beside a test run on an older Python.

`python -m tests.exporter.newer_bokeh`, called by `make parts`, puts it into the cache where the
machine has such a Python. BOKEH_AUTOSCALER_BOKEH310_PYTHON names one that has it already.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.go import cache

VARIABLE = "BOKEH_AUTOSCALER_BOKEH310_PYTHON"
REQUIREMENTS = Path(__file__).parents[2] / "requirements" / "bokeh-3.10.txt"
RELEASES = range(12, 20)
ASK = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))"


def given() -> str:
    """The Python that has Bokeh 3.10; empty where there is none."""
    named = os.environ.get(VARIABLE, "")
    return named or (str(_python()) if _is_whole(_folder()) else "")


def _folder() -> Path:
    """Another list of requirements is another folder."""
    return cache() / f"bokeh-3.10-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]}"


def _python() -> Path:
    return _folder() / "bin" / "python"


def _is_whole(folder: Path) -> bool:
    return (folder / ".installed").is_file()


def _new_enough() -> str | None:
    """A Python 3.12 or newer of this machine, on the PATH or kept by pyenv."""
    return next((python for python in _candidates() if _answers(python)), None)


def _candidates() -> Iterator[str]:
    yield sys.executable
    for minor in RELEASES:
        if found := shutil.which(f"python3.{minor}"):
            yield found
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in RELEASES:
        yield from map(str, kept.glob(f"3.{minor}.*/bin/python3"))


def _answers(python: str) -> bool:
    return subprocess.run([python, "-c", ASK], capture_output=True, check=False).returncode == 0


def install(python: str) -> None:
    """Fill the folder. Raises CalledProcessError."""
    print("bokeh 3.10: installing (half a minute)", flush=True)
    _run([python, "-m", "venv", "--clear", str(_folder())])
    pip = [str(_python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--require-hashes", "-r", str(REQUIREMENTS)])
    (_folder() / ".installed").touch()


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def _missing(problem: str, how: str) -> str:
    return f"NOT AVAILABLE: bokeh 3.10: {problem}: its tests are skipped; to get it: {how}"


def main() -> int:
    python = None if given() else _new_enough()
    if python:
        try:
            install(python)
        except (OSError, subprocess.CalledProcessError) as error:
            lines = str(getattr(error, "stderr", "") or error).strip().splitlines()
            print(_missing(lines[-1], "mend this, then make parts"))
            return 0
    if found := given():
        print(f"bokeh 3.10: {found}")
    else:
        print(_missing("no Python 3.12 or newer here", f"install one, or set {VARIABLE}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
