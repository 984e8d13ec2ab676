"""Each printed `pip install` brings what the page says of it, and no more."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adoption import apps
from tests.deploy.pages import FIRST_PAGE, PAGES, command, commands, run_shell

ROOT = FIRST_PAGE.parent
PAGE = "policies/sessions.yaml"
PARTS = ("autoscaler", "deploy", "exporter", "README.md", "LICENSE", "pyproject.toml")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment of its own, in which pip finds on the index what our package needs.

    By the versions that all tests have: another package's release of today breaks nothing here.
    """
    folder = tmp_path_factory.mktemp("install")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    locked = (ROOT / "requirements" / "dev.txt").read_text()
    pins = re.findall(r"^[\w.-]+==[^\s;]+(?: ;[^\\\n]+)?", locked, re.MULTILINE)
    (folder / "pins.txt").write_text("\n".join(pins))
    return {
        "PATH": f"{folder / 'venv' / 'bin'}:{os.environ['PATH']}",
        "PIP_CONSTRAINT": str(folder / "pins.txt"),
        "PIP_NO_COMPILE": "0",  # of such options pip takes the value as it is: compile nothing
        "PYTHONPATH": "",
    }


def packages(settings: dict[str, str]) -> set[str]:
    listed = run_shell("pip list --format=freeze --disable-pip-version-check", ROOT, **settings)
    return {line.split("==")[0] for line in listed.splitlines()} - {"pip", "setuptools"}


def refusal(line: str, settings: dict[str, str], folder: Path) -> str:
    variables = {**os.environ, **settings}
    result = subprocess.run(
        line.split(), cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    return result.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_each_install_has_what_it_is_for(settings: dict[str, str], tmp_path: Path) -> None:
    """The lines of the first page, as printed, in a checkout."""
    for name in (*PARTS, "policies"):
        (tmp_path / name).symlink_to(ROOT / name)
    lines = [each for each in commands(FIRST_PAGE) if each.startswith("pip install")]
    everything, daemon, exporter, wheel = lines

    run_shell(exporter, tmp_path, **settings)
    assert packages(settings) == {"bokeh-autoscaler", "h11", "prometheus_client"}
    run_shell("bokeh-exporter launch -- true", tmp_path, **settings)
    told = everything.replace('"', "'")
    assert f"; run {told} in the checkout of" in refusal(
        "autoscaler check policies", settings, tmp_path
    )

    run_shell(daemon, tmp_path, **settings)
    assert "bokeh" not in packages(settings)
    run_shell("autoscaler check policies", tmp_path, **settings)
    run_shell("autoscaler run --help", tmp_path, **settings)

    run_shell(everything, tmp_path, **settings)
    run_shell(f"autoscaler simulate --policy {PAGE} --workload class-of-200", tmp_path, **settings)

    run_shell(shlex.join(command(FIRST_PAGE, "pip wheel")), tmp_path, **settings)
    run_shell("pip uninstall --yes bokeh-autoscaler", tmp_path, **settings)
    run_shell(wheel, tmp_path, **settings)
    run_shell("autoscaler check policies", tmp_path, **settings)
    file = apps.write(tmp_path, apps.app())
    run_shell(f"autoscaler init {file.name} --sticky nginx", tmp_path, **settings)


@pytest.mark.parametrize("page", [FIRST_PAGE, *PAGES], ids=lambda page: str(page.parent.name))
def test_no_page_installs_from_an_index_what_is_on_none(page: Path) -> None:
    assert not re.search(r"pip install [^\n`]*(?<![/.])bokeh-autoscaler", page.read_text())
