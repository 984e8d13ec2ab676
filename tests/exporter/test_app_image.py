"""The agent in an image that has neither our packages nor what they need: the standard library."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.lab.images import ROOT

# As the first module of every Python that the launcher starts, and where nothing else is found.
LOAD = """
import sys

class Nothing:
    def find_spec(self, fullname, path, target=None):
        if fullname.partition(".")[0] in allowed:
            return None
        raise ModuleNotFoundError(f"No module named {{fullname!r}}", name=fullname)

allowed = {{*sys.stdlib_module_names, "_bokeh_exporter", "sitecustomize"}}
sys.meta_path.insert(0, Nothing())
sys.path.insert(0, {bootstrap!r})
import sitecustomize
from importlib import import_module
sitecustomize.load_agent()
import_module("_bokeh_exporter.agent.{module}")
"""


@pytest.mark.parametrize(
    "module",
    sorted(path.stem for path in (ROOT / "exporter" / "agent").glob("[!_]*.py")),
)
def test_every_module_of_the_agent_needs_the_standard_library_only(module: str) -> None:
    bootstrap = str(ROOT / "exporter" / "agent" / "bootstrap")
    text = LOAD.format(bootstrap=bootstrap, module=module)

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", text], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
