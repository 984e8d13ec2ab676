"""What the deployment pages print, for tests that do it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.deploy.manifests import FOLDER

KUBERNETES_PAGE = FOLDER / "README.md"
DEPLOY_PAGE = FOLDER.parent / "README.md"
PROXY_PAGES = (FOLDER.parent / "nginx" / "README.md", FOLDER.parent / "haproxy" / "README.md")


def blocks(page: Path, language: str) -> list[str]:
    """Its blocks of code in a language, also those within a list."""
    fenced = rf"^( *)```{language}\n(.*?)^ *```"
    found = re.findall(fenced, page.read_text(), re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def anchors(page: Path) -> set[str]:
    """The names by which links lead to its headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def command(page: Path, beginning: str) -> list[str]:
    """The only command of a page that begins so, as words."""
    lines = "".join(blocks(page, "sh")).splitlines()
    [line] = [line for line in lines if line.startswith(beginning)]
    return shlex.split(line, comments=True)


def questions(page: Path) -> list[str]:
    """The PromQL of a page, a line each."""
    lines = "".join(blocks(page, "promql")).splitlines()
    return [line for line in lines if not line.startswith("#")]
