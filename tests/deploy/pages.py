"""What the deployment pages print, for tests that do it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autoscaler.cli import main
from tests.deploy.manifests import BIG_DATA, FOLDER

FIRST_PAGE = FOLDER.parents[1] / "README.md"
POLICIES_PAGE = FIRST_PAGE.parent / "policies" / "README.md"
KUBERNETES_PAGE = FOLDER / "README.md"
DEPLOY_PAGE = FOLDER.parent / "README.md"
BIG_DATA_PAGE = BIG_DATA / "README.md"
HELM_PAGE = FOLDER.parent / "helm" / "README.md"
ADOPT_PAGE = FOLDER.parents[1] / "docs" / "adopt.md"
SIMULATE_PAGE = FOLDER.parents[1] / "docs" / "simulate.md"
JOURNAL_PAGE = FOLDER.parents[1] / "docs" / "journal.md"
UPGRADE_PAGE = FOLDER.parents[1] / "docs" / "upgrade.md"
UNINSTALL_PAGE = FOLDER.parents[1] / "docs" / "uninstall.md"
MIGRATE_PAGE = FOLDER.parents[1] / "docs" / "migrate.md"
PAUSE_PAGE = FOLDER.parents[1] / "docs" / "pause.md"
COSTS_PAGE = FOLDER.parents[1] / "docs" / "costs.md"
RESOURCES_PAGE = FOLDER.parents[1] / "docs" / "scaling-policies.md"
STATUS_PAGE = FOLDER.parents[1] / "docs" / "status.md"
DASHBOARD_PAGE = FOLDER.parents[1] / "docs" / "dashboard.md"
DOCTOR_PAGE = FOLDER.parents[1] / "docs" / "doctor.md"
DECISION_PAGE = FOLDER.parents[1] / "docs" / "decision.md"
SEATS_PAGE = FOLDER.parents[1] / "docs" / "seats.md"
CI_PAGE = FOLDER.parents[1] / "docs" / "ci.md"
STORES_PAGE = FOLDER.parents[1] / "docs" / "stores.md"
TROUBLE_PAGE = FOLDER.parents[1] / "docs" / "troubleshooting.md"
GITOPS_PAGE = FOLDER.parents[1] / "docs" / "gitops.md"
SERVERS_PAGE = FOLDER.parents[1] / "docs" / "servers.md"
TRY_PAGE = FOLDER.parents[1] / "docs" / "try.md"
INSTALL_PAGE = FOLDER.parents[1] / "docs" / "install.md"
TUTORIAL = FOLDER.parents[1] / "docs" / "tutorial.md"
ANSWERS_PAGE = FOLDER.parents[1] / "docs" / "answers.md"
NOTICES_PAGE = FOLDER.parents[1] / "docs" / "notices.md"
HINTS_PAGE = FOLDER.parents[1] / "docs" / "hints.md"
RUNBOOK = FOLDER.parents[1] / "docs" / "runbook.md"
PROXY_PAGES = (FOLDER.parent / "nginx" / "README.md", FOLDER.parent / "haproxy" / "README.md")

# All of them: tests hold their links and their commands.
PAGES = (
    *(DEPLOY_PAGE, KUBERNETES_PAGE, HELM_PAGE),
    *(*PROXY_PAGES, BIG_DATA_PAGE, ADOPT_PAGE, SIMULATE_PAGE, JOURNAL_PAGE, PAUSE_PAGE),
    *(UPGRADE_PAGE, UNINSTALL_PAGE, MIGRATE_PAGE, COSTS_PAGE, STATUS_PAGE, DOCTOR_PAGE),
    *(RESOURCES_PAGE, TUTORIAL, SERVERS_PAGE, GITOPS_PAGE, TROUBLE_PAGE, STORES_PAGE, CI_PAGE),
    *(SEATS_PAGE, DECISION_PAGE, DASHBOARD_PAGE, ANSWERS_PAGE, TRY_PAGE, INSTALL_PAGE),
    *(NOTICES_PAGE, HINTS_PAGE),
)
# And whatever else is written for people.
_FOLDERS = ("docs", "deploy", "policies", "requirements", "tests")
WITH_LINKS = sorted(
    {
        *FIRST_PAGE.parent.glob("*.md"),
        *(page for each in _FOLDERS for page in (FIRST_PAGE.parent / each).rglob("*.md")),
    }
)


def blocks(page: Path, language: str, section: str = "") -> list[str]:
    """Its blocks of code in a language, also those within a list; of one section if it is named."""
    fenced = rf"^( *)```{language}\n(.*?)^ *```"
    text = page.read_text()
    if section:
        text = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = re.findall(fenced, text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def files(page: Path) -> dict[str, str]:
    """Its blocks of YAML whose first line says which file they are: `# app/name.yaml`."""
    named = [(re.match(r"# ([\w/-]+\.yaml)", text), text) for text in blocks(page, "yaml")]
    return {found.group(1): text for found, text in named if found}


def languages(page: Path) -> set[str]:
    """Of all its blocks."""
    return set(re.findall(r"^ *```(\w*)\n.*?^ *```$", page.read_text(), re.MULTILINE | re.DOTALL))


def anchors(page: Path) -> set[str]:
    """The names by which links lead to its headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(page: Path) -> list[str]:
    """Each on one line, without the comment behind it."""
    text = "".join(blocks(page, "sh")).replace("\\\n", " ")
    lines = [re.sub(r"(^|\s+)# .*", "", line).strip() for line in text.splitlines()]
    return [re.sub(r"\s+", " ", line) for line in lines if line]


# What a command begins with that stands within a sentence; a program alone is only a name.
PROGRAMS = (
    "autoscaler|bokeh-exporter|buildah|curl|docker|helm|kubectl|make|panel|pip|podman|promtool"
    "|python -m|systemctl"
)


def mentioned(page: Path) -> list[str]:
    """The commands within its sentences and tables."""
    prose = re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(rf"`((?:{PROGRAMS}) [^`\n]+)`", prose)


def printed(page: Path) -> list[str]:
    """All of its commands."""
    return [*commands(page), *mentioned(page)]


def run_shell(command: str, folder: Path, **environment: str) -> str:
    """What a printed command says, run in a folder. Fails with what it complains of.

    It finds our own programs first, as in an environment that is activated.
    """
    ours = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    result = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": ours, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode == 0, f"{command}: {result.stderr}"
    return result.stdout


def run_until(words: str, command: str, folder: Path, **environment: str) -> None:
    """Run a printed command that ends on Ctrl-C, until it says these words. Fails without them."""
    ours = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with subprocess.Popen(
        ["sh", "-c", f"exec {command}"],
        cwd=folder,
        env={**os.environ, "PATH": ours, **environment},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert any(words in line for line in process.stdout), (
                f"{command}: it never said {words}"
            )
            process.send_signal(signal.SIGINT)
            assert process.wait(100) == 0, command
        finally:
            process.kill()


def run_here(
    command: str, folder: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]
) -> str:
    """What a command of ours says, as `run_shell`, in this process: it has imported all of it."""
    program, *words = shlex.split(command)
    assert program == "autoscaler"
    patch.chdir(folder)
    code = main(words)
    said = capture.readouterr()
    assert code == 0, f"{command}: {said.err}"
    return said.out


def command(page: Path, beginning: str) -> list[str]:
    """The only command of a page that begins so, as words."""
    [line] = [line for line in commands(page) if line.startswith(beginning)]
    return shlex.split(line)


def questions(page: Path) -> list[str]:
    """The PromQL of a page, a line each."""
    lines = "".join(blocks(page, "promql")).splitlines()
    return [line for line in lines if not line.startswith("#")]
