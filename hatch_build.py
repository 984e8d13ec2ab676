"""Writes the commit that a wheel or an sdist is built from into it, as `exporter/COMMIT`."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# For a build without git or without its repository, as in a container.
VARIABLE = "BOKEH_AUTOSCALER_COMMIT"


class CommitHook(BuildHookInterface[Any]):
    """Adds the file; an sdist has it already, and an editable install asks git each time."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the file for the build to take."""
        release = runpy.run_path(str(Path(self.root, "exporter", "release.py")))
        commit = os.environ.get(VARIABLE) or release["commit_of"](Path(self.root))
        self._folder = TemporaryDirectory()
        if commit and version != "editable" and not release["BUILT_FROM"].is_file():
            file = Path(self._folder.name, "COMMIT")
            file.write_text(f"{commit}\n")
            build_data["force_include"][str(file)] = "exporter/COMMIT"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was only written for the build."""
        self._folder.cleanup()
