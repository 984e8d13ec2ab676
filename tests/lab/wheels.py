"""Our wheel and sdist as files, and the versions of all other packages that the tests have."""

from __future__ import annotations

import re
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

from tests.lab.go import output_of

ROOT = Path(__file__).parents[2]
# All that an installation needs of a checkout; the wheel takes a policy from `policies` too.
PARTS = (
    *("autoscaler", "deploy", "exporter"),
    *("README.md", "LICENSE", "pyproject.toml", "hatch_build.py"),
)


def project_version() -> str:
    """The version of this checkout."""
    project: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["version"]


def build_wheels(folder: Path) -> tuple[Path, Path]:
    """Build the sdist of this checkout, and the wheel from that. The wheel, then the sdist.

    Raises BuildError.
    """
    stem = f"bokeh_autoscaler-{project_version()}"
    hatchling("sdist", ROOT, folder.absolute())
    sdist = folder / f"{stem}.tar.gz"
    with tempfile.TemporaryDirectory() as name, tarfile.open(sdist) as content:
        content.extractall(name, filter="data")
        hatchling("wheel", Path(name, stem), folder.absolute())
    return folder / f"{stem}-py3-none-any.whl", sdist


def hatchling(target: str, source: Path, folder: Path, **environment: str) -> None:
    """Build to the byte what pip builds, without an index and in a quarter of its time.

    Raises BuildError.
    """
    words = ["build", "--target", target, "--directory", str(folder)]
    output_of([sys.executable, "-m", "hatchling", *words], source, **environment)


def constraints() -> str:
    """What `pip --constraint` takes: a release of another package of today breaks nothing here."""
    locked = (ROOT / "requirements" / "dev.txt").read_text()
    return "\n".join(re.findall(r"^[\w.-]+==[^\s;]+(?: ;[^\\\n]+)?", locked, re.MULTILINE))
