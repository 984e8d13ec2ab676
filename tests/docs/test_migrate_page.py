"""The page that hands an app over prints what the commands make of its HPA."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.cli import main
from tests.deploy.pages import MIGRATE_PAGE, blocks, commands, files, run_here

PRINTED = files(MIGRATE_PAGE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of the page; the first line of each only names it."""
    for name, text in PRINTED.items():
        (tmp_path / name).write_text(text.split("\n", 1)[1])
    return tmp_path


def test_the_page_prints_what_the_command_prints(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    [said] = blocks(MIGRATE_PAGE, "text")

    assert main(["convert", "hpa.yaml", "--seats", "10"]) == 0

    found = capsys.readouterr()
    assert found.out == (folder / "bokeh-app.yaml").read_text()
    # The place differs: the page converts what kubectl prints of the same HPA.
    assert found.err.partition(": ")[2] == said.partition(": ")[2]


@pytest.mark.slow
def test_the_policy_is_simulated_against_the_hpa(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [command] = [each for each in commands(MIGRATE_PAGE) if " simulate " in each]

    said = run_here(f"{command} --workload class-of-200", folder, monkeypatch, capsys)

    assert "policy bokeh-app" in said
    assert "HPA bokeh-app" in said
