"""The tutorial as a folder of files and lines for a shell, for the tests that do what it says."""

from __future__ import annotations

import re
from pathlib import Path

from tests.deploy.pages import TUTORIAL, blocks, files
from tests.lab.images import ROOT

PIPS = ("pip wheel", "pip install")
# What the tests build with buildah, and install without an index.
ELSEWHERE = ("docker ", "cd ", *PIPS)


def write(folder: Path) -> None:
    """Write the files of the page, beside a checkout of that name."""
    for name, text in files(TUTORIAL).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "bokeh-autoscaler").symlink_to(ROOT)


def step(number: int | str) -> list[str]:
    """The commands of a step that are to be run here."""
    text = TUTORIAL.read_text()
    [title] = re.findall(rf"^## ({number}\. .*)$", text, re.MULTILINE)
    own = "".join(blocks(TUTORIAL, "sh", title)).replace("\\\n", " ")
    lines = [line for line in own.splitlines() if line and not line.startswith(ELSEWHERE)]
    assert lines, title
    return lines
