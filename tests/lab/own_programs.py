"""Our programs in a folder, as an installation writes them: those of this checkout."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """#!{python}
import sys
sys.path.insert(0, {root!r})
from {module} import {function}
sys.exit({function}())
"""


def write_programs(folder: Path) -> Path:
    """Write each of `project.scripts` into the folder, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, place in project["scripts"].items():
        module, _, function = place.partition(":")
        text = SCRIPT.format(
            python=sys.executable, root=str(ROOT), module=module, function=function
        )
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder
