"""A key press completes commands, options, choices and files: in real shells, and in kubectl."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autoscaler.cli import main
from autoscaler.commands.catalog import COMMANDS
from tests.deploy.manifests import kubectl
from tests.deploy.pages import STATUS_PAGE, commands
from tests.lab.own_programs import write_programs

pytest.importorskip("shtab", reason="NO SHTAB: `make install` installs it")
# A shell that reads no file of its user, as interactive as a person's.
SHELLS = {
    "bash": ["bash", "--noprofile", "--norc", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
# In place of ours once the script was read: a command that prints the words that it gets.
STAND_IN = {
    "bash": "autoscaler() { printf '<%s>' RAN \"$@\" END; }",
    "zsh": "autoscaler() { printf '<%s>' RAN \"$@\" END }",
    "fish": "function autoscaler; printf '<%s>' RAN $argv END; end",
}
BEFORE = {"zsh": "autoload -U compinit; compinit -D"}
WITHIN = 20.0
QUIET = 0.6  # seconds without a word after which a shell has completed


class Shell:
    """A shell on a terminal of its own."""

    def __init__(self, master: int) -> None:
        self._master = master

    def type(self, keys: str) -> str:
        """Press keys, and return what the shell prints until it is quiet."""
        os.write(self._master, keys.encode())
        said = ""
        while select.select([self._master], [], [], QUIET)[0]:
            said += os.read(self._master, 65_536).decode(errors="replace")
        return said

    def runs(self, line: str) -> None:
        """Run a line, and wait for its end."""
        self._await(f"{line}; echo DO''NE\r", "DONE")

    def words(self, keys: str) -> list[str]:
        """Press keys, then Enter, and return the words that the command got."""
        self.type(keys)
        said = self._await("\r", "<END>")
        [words] = re.findall(r"<RAN>(.*?)<END>", said)
        return re.findall(r"<(.*?)>", words)

    def _await(self, keys: str, end: str) -> str:
        said, until = self.type(keys), time.monotonic() + WITHIN
        while end not in said:
            assert time.monotonic() < until, f"the shell said only {said!r}"
            said += self.type("")
        return said


@contextmanager
def running(command: list[str], folder: Path, path: str) -> Iterator[Shell]:
    process, master = pty.fork()
    if process == 0:  # pragma: no cover - it becomes the shell
        os.chdir(folder)
        variables = {**os.environ, "TERM": "dumb", "HOME": str(folder), "PATH": path}
        os.execvpe(command[0], command, variables)
    try:
        yield Shell(master)
    finally:
        os.close(master)
        os.kill(process, 9)
        os.waitpid(process, 0)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shell]:
    """A shell that has read the script by the line that the page prints for it."""
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"NO {name.upper()}: install the package {name}")
    [line] = [each for each in commands(STATUS_PAGE) if f"completion {name}" in each]
    programs = write_programs(tmp_path / "bin")
    (tmp_path / "policy.yaml").touch()
    with running(SHELLS[name], tmp_path, f"{programs}:{os.environ['PATH']}") as shell:
        if name in BEFORE:
            shell.runs(BEFORE[name])
        if "> ~/" in line:
            file = line.split("> ~/")[1]
            (tmp_path / file).parent.mkdir(parents=True)
            shell.runs(line)
            shell.runs(f"source ~/{file}")  # a new shell reads it by itself
        else:
            shell.runs(line)
        shell.runs(STAND_IN[name])
        yield shell


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("autoscaler stat\t", ["status"]),
        ("autoscaler status --lease-n\tx", ["status", "--lease-namespace", "x"]),
        ("autoscaler status -o w\t", ["status", "-o", "wide"]),
        ("autoscaler check pol\t", ["check", "policy.yaml"]),
        ("autoscaler completion ba\t", ["completion", "bash"]),
    ],
    ids=["a command", "an option", "a choice of an option", "a file", "a choice"],
)
def test_a_tab_completes(shell: Shell, keys: str, words: list[str]) -> None:
    assert shell.words(keys) == words


@pytest.mark.parametrize("shell_name", SHELLS)
def test_every_command_is_in_the_script(
    shell_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell_name]) == 0

    script = capsys.readouterr().out
    assert [name for name in COMMANDS if name not in script] == []


@pytest.fixture
def offers(tmp_path: Path) -> Callable[..., list[str]]:
    """What kubectl offers for words of ours, of which the last one is not complete."""
    program = kubectl()
    if program is None:
        pytest.skip("NO KUBECTL: `make parts` builds it")
    programs = write_programs(tmp_path / "bin")

    def ask(*words: str) -> list[str]:
        told = subprocess.run(
            [program, "__complete", "autoscaler", *words],
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        )
        return [line.split("\t")[0] for line in told.stdout.splitlines()]

    return ask


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([""], [*COMMANDS, ":4"]),
        (["stat"], ["status", ":4"]),
        (["status", "--lease-n"], ["--lease-namespace", ":4"]),
        (["status", "-o", ""], ["wide", "json", "yaml", ":4"]),
        (["status", ""], [":4"]),
        (["run", "--policies", ""], [":0"]),
        (["check", ""], [":0"]),
        (["completion", "z"], ["zsh", ":4"]),
        (["nothing", ""], [":4"]),
    ],
    ids=" ".join,
)
def test_kubectl_completes_it_as_a_plugin(
    offers: Callable[..., list[str]], words: list[str], offered: list[str]
) -> None:
    assert offers(*words) == offered
