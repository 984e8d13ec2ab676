"""Each printed `pip install` brings what the page says of it, and no more."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.pages import FIRST_PAGE, commands, run_shell
from tests.lab.images import our_wheel

ROOT = FIRST_PAGE.parent
PAGE = "policies/sessions.yaml"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment of its own, for which pip finds our wheel beside what the index has.

    By the versions that all tests have: another package's release of today breaks nothing here.
    """
    folder = tmp_path_factory.mktemp("install")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    our_wheel(folder / "dist")
    locked = (ROOT / "requirements" / "dev.txt").read_text()
    pins = re.findall(r"^[\w.-]+==[^\s;]+(?: ;[^\\\n]+)?", locked, re.MULTILINE)
    (folder / "pins.txt").write_text("\n".join(pins))
    return {
        "PATH": f"{folder / 'venv' / 'bin'}:{os.environ['PATH']}",
        "PIP_FIND_LINKS": str(folder / "dist"),
        "PIP_CONSTRAINT": str(folder / "pins.txt"),
        "PIP_NO_COMPILE": "0",  # of such options pip takes the value as it is: compile nothing
        "PYTHONPATH": "",
    }


def packages(settings: dict[str, str]) -> set[str]:
    listed = run_shell("pip list --format=freeze --disable-pip-version-check", ROOT, **settings)
    return {line.split("==")[0] for line in listed.splitlines()} - {"pip", "setuptools"}


def refusal(command: str, settings: dict[str, str], folder: Path) -> str:
    variables = {**os.environ, **settings}
    result = subprocess.run(
        command.split(), cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    return result.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_each_install_has_what_it_is_for(settings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    lines = [each for each in commands(FIRST_PAGE) if each.startswith("pip install")]
    everything, daemon, exporter = lines

    run_shell(exporter, tmp_path, **settings)
    assert packages(settings) == {"bokeh-autoscaler", "h11", "prometheus_client"}
    run_shell("bokeh-exporter launch -- true", tmp_path, **settings)
    assert f"{everything.split(' ', 2)[2]}\n".replace('"', "'") in refusal(
        "autoscaler check policies", settings, tmp_path
    )

    run_shell(daemon, tmp_path, **settings)
    assert "bokeh" not in packages(settings)
    run_shell("autoscaler check policies", tmp_path, **settings)
    run_shell("autoscaler run --help", tmp_path, **settings)

    run_shell(everything, tmp_path, **settings)
    run_shell(f"autoscaler simulate --policy {PAGE} --workload class-of-200", tmp_path, **settings)
