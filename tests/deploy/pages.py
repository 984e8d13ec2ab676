"""What the deployment pages print, for tests that do it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.deploy.manifests import FOLDER

KUBERNETES_PAGE = FOLDER / "README.md"
DEPLOY_PAGE = FOLDER.parent / "README.md"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def command(page: Path, beginning: str) -> list[str]:
    """The only command of a page that begins so, as words."""
    lines = "".join(blocks(page, "sh")).splitlines()
    [line] = [line for line in lines if line.startswith(beginning)]
    return shlex.split(line, comments=True)


def questions(page: Path) -> list[str]:
    """The PromQL of a page, a line each."""
    lines = "".join(blocks(page, "promql")).splitlines()
    return [line for line in lines if not line.startswith("#")]
