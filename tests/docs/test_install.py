"""Each printed `pip install` brings what the page says of it, and no more."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from autoscaler.errors import SOURCE
from tests.adoption import apps
from tests.deploy.pages import INSTALL_PAGE, WITH_LINKS, command, commands, run_shell
from tests.lab.wheels import PARTS, constraints

ROOT = INSTALL_PAGE.parents[1]
PAGE = "policies/sessions.yaml"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment of its own, in which pip finds on the index what our package needs.

    By the versions that all tests have: another package's release of today breaks nothing here.
    """
    folder = tmp_path_factory.mktemp("install")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    (folder / "pins.txt").write_text(constraints())
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
    """The lines of its page, as printed, in a checkout."""
    for name in (*PARTS, "policies"):
        (tmp_path / name).symlink_to(ROOT / name)
    lines = [each for each in commands(INSTALL_PAGE) if each.startswith("pip install")]
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

    run_shell(shlex.join(command(INSTALL_PAGE, "pip wheel")), tmp_path, **settings)
    run_shell("pip uninstall --yes bokeh-autoscaler", tmp_path, **settings)
    run_shell(wheel, tmp_path, **settings)
    run_shell("autoscaler check policies", tmp_path, **settings)
    file = apps.write(tmp_path, apps.app())
    run_shell(f"autoscaler init {file.name} --sticky nginx", tmp_path, **settings)


# Until `SOURCE` says that an index has the package, nothing may be printed that asks one for it;
# afterwards, nothing that works in a checkout alone.
FROM_AN_INDEX = r"pip install [^\n`]*(?<![\w/.])bokeh-autoscaler(?![\w.])"
FROM_A_CHECKOUT = r"pip install [^\n`]*(?<![\w./])\.(/bokeh-autoscaler)?(?![\w./])"
BEFORE_THE_FIRST_RELEASE = SOURCE == "."
WHO_PRINT = [
    *WITH_LINKS,
    *(
        each
        for name in ("autoscaler", "exporter", "deploy")
        for each in (ROOT / name).rglob("*.py")
    ),
    *(ROOT / "deploy").rglob("*.yaml"),
]


@pytest.mark.parametrize("file", WHO_PRINT, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_is_printed_for_pip_that_it_cannot_install(file: Path) -> None:
    forbidden = FROM_AN_INDEX if BEFORE_THE_FIRST_RELEASE else FROM_A_CHECKOUT

    assert not re.search(forbidden, file.read_text())


@pytest.mark.parametrize(
    ("printed", "kinds"),
    [
        ("run `pip install bokeh-autoscaler`", {FROM_AN_INDEX}),
        ("pip install --upgrade 'bokeh-autoscaler[daemon,report]==0.1.0'", {FROM_AN_INDEX}),
        ("pip install './bokeh-autoscaler[daemon,report]'", {FROM_A_CHECKOUT}),
        ('pip install ".[daemon]"', {FROM_A_CHECKOUT}),
        ("pip install .", {FROM_A_CHECKOUT}),
        ('pip install "dist/bokeh_autoscaler-0.1.0-py3-none-any.whl[daemon]"', set()),
        ("pip install --require-hashes -r ../requirements/big-data.txt", set()),
        ("`pip install distributed`, and bokeh-autoscaler beside it", set()),
    ],
)
def test_it_is_known_what_pip_is_told_to_ask(printed: str, kinds: set[str]) -> None:
    assert {kind for kind in (FROM_AN_INDEX, FROM_A_CHECKOUT) if re.search(kind, printed)} == kinds
