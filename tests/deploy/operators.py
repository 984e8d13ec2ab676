"""Somebody who manages the app of "Adopt a running app" with kubectl."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.pages import ADOPT_PAGE, blocks
from tests.lab.control_plane import ControlPlane

NAMESPACE, APP = "bokeh", "dashboards"
IN_PLACE = "In place"


@dataclass
class Operator:
    """Somebody with a shell, the page's files and a cluster. Runs what is printed."""

    folder: Path
    cluster: ControlPlane
    kubectl: Path

    def run(self, script: str) -> str:
        path = f"{self.kubectl.parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "KUBECONFIG": str(self.cluster.admin)}
        done = subprocess.run(
            ["sh", "-ec", script],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{script}: {done.stderr}"
        return done.stdout

    def replicas(self) -> int:
        found: Any = self.cluster.apps.read_namespaced_deployment(APP, NAMESPACE)
        return int(found.spec.replicas)

    def without_replicas(self) -> None:
        """Edit the manifest as the page's first line does."""
        self.run(blocks(ADOPT_PAGE, "sh", IN_PLACE)[0].splitlines()[0])
        assert "replicas: 3" not in (self.folder / "dashboards.yaml").read_text()
