"""The command line: durations with units, one line per mistake, exit codes of a shell."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from exporter.durations import duration_text, seconds
from tests.lab.bokeh_servers import BIN

COMMAND = str(BIN / "bokeh-exporter")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, timeout=20, check=False
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [("0s", 0), ("30s", 30), ("5m", 300), ("4h", 14400), ("1h30m", 5400), ("1d", 86400)],
)
def test_durations_are_read_and_written_with_their_unit(written: str, expected: float) -> None:
    assert seconds(written) == expected
    assert duration_text(expected) == written


@pytest.mark.parametrize("written", ["", "30", "1.5h", "-5s", "5 m", "soon", "30m1h"])
def test_anything_else_is_no_duration(written: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; expected a number with its unit"):
        seconds(written)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "required: COMMAND"),
        (("start",), "invalid choice: 'start'"),
        (("launch",), "no command to launch; write it after --"),
        (("launch", "--"), "no command to launch; write it after --"),
        (("launch", "--"), "repeat them in `args`"),
        (("launch", "--drain-deadline", "90", "--", "true"), "'90' is not a duration"),
        (("sidecar", "--port", "70000"), "'70000' is not a port; expected 1 to 65535"),
        (("sidecar", "--instance", "a/b"), "'a/b' is not an instance name"),
        (("sidecar", "extra"), "unrecognized arguments: extra"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_command_line_is_one_line_and_exit_2(arguments: tuple[str, ...], says: str) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert says in ended.stderr


@pytest.mark.slow
def test_a_command_that_cannot_run_is_one_line_and_the_shells_exit_code(tmp_path: Path) -> None:
    file = tmp_path / "no-program"
    file.write_text("")
    for command, code, says in (
        ("no-such-program", 127, "cannot start no-such-program: No such file or directory"),
        (str(file), 126, f"cannot start {file}: Permission denied"),
    ):
        ended = run("launch", "--", command)
        assert (ended.returncode, ended.stderr) == (code, f"bokeh-exporter: {says}\n")


@pytest.mark.slow
def test_a_port_in_use_is_one_line_and_exit_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run("sidecar", "--address", "127.0.0.1", "--port", port)
    says = f"bokeh-exporter: cannot open port {port}: Address already in use\n"
    assert (ended.returncode, ended.stderr) == (1, says)


@pytest.mark.slow
def test_help_names_both_commands_and_their_units() -> None:
    assert "launch" in run("--help").stdout
    assert "DURATION" in run("launch", "--help").stdout
    assert "9550" in run("sidecar", "--help").stdout


@pytest.mark.slow
def test_the_launchers_options_do_not_swallow_the_servers() -> None:
    ended = run("launch", "--instance", "test-echo", "--", "echo", "--port", "5", "--", "--help")
    assert ended.stdout == "--port 5 -- --help\n"


@pytest.mark.slow
def test_the_instance_comes_from_the_environment_and_reaches_the_server() -> None:
    environment = {**os.environ, "BOKEH_EXPORTER_INSTANCE": "from-outside"}
    script = "echo $BOKEH_EXPORTER_INSTANCE"
    output = subprocess.check_output(
        [COMMAND, "launch", "--", "sh", "-c", script], env=environment, text=True
    )
    assert output == "from-outside\n"
