"""Python environments beside the one that runs the tests, filled once and kept in the cache."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab.go import cache
from tests.lab.parts import missing

REQUIREMENTS = Path(__file__).parents[2] / "requirements"


@dataclass(frozen=True)
class Environment:
    """One with the hashed requirements of a file; `takes` says how long it takes to fill."""

    name: str
    requirements: Path
    takes: str

    @property
    def folder(self) -> Path:
        """Another list of requirements is another folder."""
        digest = hashlib.sha256(self.requirements.read_bytes()).hexdigest()
        return cache() / f"{self.requirements.stem}-{digest[:16]}"

    def python(self) -> str:
        """Its Python; empty where it has not been filled."""
        whole = (self.folder / ".installed").is_file()
        return str(self.folder / "bin" / "python") if whole else ""

    @property
    def how(self) -> str:
        """How to get it, for the line of a test that has to do without."""
        return f"`make parts` installs it ({self.takes})"

    def line(self) -> str:
        """Fill it unless it is there. One line: where it is, or why not."""
        problem = self.get()
        ready = f"{self.name}: {self.python()}"
        return missing(self.name, problem, "fix this, then make parts") if problem else ready

    def get(self, python: str = sys.executable) -> str:
        """Fill it unless it is there. Empty when it is, else why not."""
        if self.python():
            return ""
        print(f"{self.name}: installing ({self.takes})", flush=True)
        try:
            self._fill(python)
        except (OSError, subprocess.CalledProcessError) as error:
            return str(getattr(error, "stderr", "") or error).strip().splitlines()[-1]
        return ""

    def _fill(self, python: str) -> None:
        inner = make(python, self.folder)
        install(inner, "--require-hashes", "--only-binary=:all:", "-r", str(self.requirements))
        (self.folder / ".installed").touch()


def make(python: str, folder: Path) -> str:
    """Make an empty environment of this Python in the folder. Its own Python."""
    _run([python, "-m", "venv", "--clear", str(folder)])
    return str(folder / "bin" / "python")


def install(python: str, *words: str) -> None:
    """Install by the arguments of `pip install`. Raises CalledProcessError with its stderr.

    Nothing is compiled that may never be imported: half the time and a quarter of the space.
    """
    try:
        uv = str(Path(sys.executable).with_name("uv"))
        _run([uv, "pip", "install", "--quiet", "--python", python, *words])
    except (OSError, subprocess.CalledProcessError):  # or an index that only pip is told of
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--no-compile", *words])


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
