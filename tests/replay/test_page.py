"""What the page of the journal prints is what its commands print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy.pages import JOURNAL_PAGE, blocks, commands, run_shell
from tests.replay.recorded import a_journal, rules

SHOWN = re.findall(
    r"```sh\n([^\n]*)\n```\n\n```text\n(.*?)```", JOURNAL_PAGE.read_text(), re.DOTALL
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    a_journal(tmp_path)
    edited = rules(replicas={"min": 1, "max": 3}).model_dump_json(by_alias=True)
    (tmp_path / "edited.yaml").write_text(edited)
    (tmp_path / "policies").symlink_to(JOURNAL_PAGE.parents[1] / "policies")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_a_command_prints_what_the_page_shows(command: str, output: str, folder: Path) -> None:
    assert run_shell(command, folder) == output


@pytest.mark.slow
def test_the_journal_is_simulated(folder: Path) -> None:
    [command] = [each for each in commands(JOURNAL_PAGE) if each.startswith("autoscaler simulate")]

    assert "Trace: journal.jsonl, bokeh/bokeh-app." in run_shell(command, folder)


def test_each_output_has_its_command() -> None:
    assert len(SHOWN) == len(blocks(JOURNAL_PAGE, "text")) == 3
