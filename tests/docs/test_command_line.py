"""What the pages print that needs nothing but this checkout: commands, a policy, an error."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from autoscaler.adapters.policy_files import PolicyFileError, load_policy
from tests.deploy.pages import FIRST_PAGE, POLICIES_PAGE, blocks, printed, run_shell

ROOT = FIRST_PAGE.parent
OF_THE_CHECKOUT = ("make help", "python -m tests.hpa_conformance")
ALONE = ("autoscaler check", "autoscaler simulate", "autoscaler schema", *OF_THE_CHECKOUT)


def alone() -> list[str]:
    every = {command for page in (FIRST_PAGE, POLICIES_PAGE) for command in printed(page)}
    return sorted(command for command in every if command.startswith(ALONE))


def test_the_policy_of_the_first_page_is_one(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    [text] = blocks(FIRST_PAGE, "yaml")
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


@pytest.mark.slow
@pytest.mark.parametrize("command", alone())
def test_a_command_that_is_printed_works(command: str, tmp_path: Path) -> None:
    (tmp_path / "policies").symlink_to(ROOT / "policies")  # what it writes stays here
    folder = ROOT if command.startswith(OF_THE_CHECKOUT) else tmp_path

    assert run_shell(command, folder)
