"""An older version of this project in an environment of its own, for tests of version skew.

Until there is a release, it is a commit of the history; afterwards, the tag of the last release.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.lab.environment import install, make
from tests.lab.go import BuildError, alone, cache, output_of
from tests.lab.wheels import ROOT, constraints, hatchling

OLDER = "694484b691d4a5b28bc9c1e2960e68fc0f27ddb6"


class OlderVersion:
    """Its programs and files."""

    def __init__(self) -> None:
        """Install it, once (half a minute). Raises BuildError where git does not have it."""
        self._folder = cache() / f"older-{OLDER[:16]}"
        done = self._folder / ".installed"
        with alone(self._folder):
            if not done.is_file():
                self._install()
                done.touch()

    @property
    def policies(self) -> Path:
        """The policies that it ships."""
        return self._folder / "source" / "policies"

    @property
    def python(self) -> list[str]:
        """A Python that imports it, also where PYTHONPATH names this checkout."""
        return [str(self._folder / "bin" / "python"), "-I"]

    def program(self, name: str) -> list[str]:
        """How a program of it is run, such as `autoscaler`."""
        return [*self.python, str(self._folder / "bin" / name)]

    def _install(self) -> None:
        python = make(sys.executable, self._folder)
        source = self._folder / "source"
        source.mkdir()
        with tempfile.TemporaryDirectory() as name:
            archive, pins = Path(name, "source.tar"), Path(name, "pins.txt")
            output_of(["git", "archive", "--output", str(archive), OLDER], ROOT)
            output_of(["tar", "-xf", str(archive), "-C", str(source)])
            hatchling("wheel", source, Path(name))
            [wheel] = Path(name).glob("*.whl")
            pins.write_text(constraints())
            install(python, "--constraint", str(pins), f"{wheel}[daemon]")


def older_version() -> OlderVersion | str:
    """It, or why it cannot be had here."""
    try:
        return OlderVersion()
    except BuildError as error:
        return f"commit {OLDER[:12]} cannot be installed: {error}"
