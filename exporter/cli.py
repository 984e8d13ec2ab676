"""`bokeh-exporter launch -- COMMAND`, `bokeh-exporter sidecar` and `bokeh-exporter copy FOLDER`.

Exit codes: the launched command's own; 2 for a wrong command line, 126 and 127 for a command that
cannot be run or found (as a shell has it), 1 for a port or a folder that cannot be had.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from exporter.durations import seconds

INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,60}")  # fits a unix socket's 107 bytes with the rest


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Print the line and end with 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Raises SystemExit for --help and a wrong command line."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except OSError as error:
        sys.stderr.write(f"bokeh-exporter: {_place(options)}: {error.strerror or error}\n")
        code = _code_of(error) if options.run is run_launch else 1
    return code


def _place(options: argparse.Namespace) -> str:
    if options.run is run_launch:
        return str(options.command[0])
    return f"port {options.port}" if options.run is run_sidecar else str(options.folder)


def _code_of(error: OSError) -> int:
    return 127 if isinstance(error, FileNotFoundError) else 126


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog="bokeh-exporter",
        description="Counts the sessions of a Bokeh or Panel server and lets it drain.",
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_launch(commands)
    _add_sidecar(commands)
    _add_copy(commands)
    return top


def _add_launch(commands: argparse._SubParsersAction[Parser]) -> None:
    launch = commands.add_parser(
        "launch",
        help="start a server with the agent in every worker, and drain it on SIGTERM",
        usage="bokeh-exporter launch [OPTIONS] -- bokeh serve app.py --num-procs 4",
    )
    launch.add_argument(
        "--drain-deadline",
        type=_duration,
        default=3600.0,
        metavar="DURATION",
        help="how long SIGTERM waits for users to leave; 0s: not at all (default: 1h)",
    )
    launch.add_argument(
        "--resources",
        choices=("cgroup", "process"),
        default="cgroup",
        help="whose memory and CPU to report: the container's, or, where servers share a machine "
        "without containers, the processes' own (default: cgroup)",
    )
    launch.add_argument(
        "--metrics-port",
        type=_port,
        metavar="PORT",
        help="serve the sidecar's pages from here, for a pod without sidecar (default: do not)",
    )
    _add_common(launch)
    launch.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    launch.set_defaults(run=run_launch, parser=launch)


def _add_sidecar(commands: argparse._SubParsersAction[Parser]) -> None:
    sidecar = commands.add_parser(
        "sidecar", help="serve /metrics, /state, /healthz and /readyz for the workers of this pod"
    )
    sidecar.add_argument("--port", type=_port, default=9550, help="(default: 9550)")
    sidecar.add_argument("--address", default="", help="(default: all, IPv4 and IPv6)")
    _add_common(sidecar)
    sidecar.set_defaults(run=run_sidecar)


def _add_copy(commands: argparse._SubParsersAction[Parser]) -> None:
    copy = commands.add_parser(
        "copy",
        help="put the launcher and the agent into a folder, for app images that nobody may change",
        description="Then `python FOLDER launch -- COMMAND` is `bokeh-exporter launch -- COMMAND`, "
        "with no package but Python's own.",
    )
    copy.add_argument("folder", type=Path, metavar="FOLDER")
    copy.set_defaults(run=run_copy)


def _add_common(command: Parser) -> None:
    command.add_argument(
        "--instance",
        type=_instance,
        default=os.environ.get("BOKEH_EXPORTER_INSTANCE", "default"),
        help="a name that keeps several servers on one network apart; a pod needs none",
    )
    command.add_argument(
        "--app-port",
        type=_port,
        default=5006,
        help="the server's port, whose connections are counted where no agent is (default: 5006)",
    )


def run_launch(options: argparse.Namespace) -> int:
    """Launch the command. Raises OSError if it cannot be started."""
    from exporter.launch import Launcher

    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        options.parser.error("what should be launched? Write it after --")
    options.command = command
    os.environ["BOKEH_EXPORTER_RESOURCES"] = options.resources
    pages = _pages(options) if options.metrics_port else None
    deadline, app_port = options.drain_deadline, options.app_port
    return Launcher(command, options.instance, deadline, app_port, pages).run()


def _pages(options: argparse.Namespace) -> Callable[[], None]:
    """What serves the pages of `--metrics-port`. Ends the command if it cannot."""
    try:
        from exporter.sidecar import server

        return server(options.instance, options.app_port, "", options.metrics_port).serve_forever
    except OSError as error:
        problem = f"port {options.metrics_port}: {error.strerror}"
    except ModuleNotFoundError as error:
        how = "pip install prometheus-client, or run the sidecar instead"
        problem = f"--metrics-port: no module {error.name}: {how}"
    sys.stderr.write(f"bokeh-exporter: {problem}\n")
    raise SystemExit(1)


def run_sidecar(options: argparse.Namespace) -> int:
    """Serve. Raises OSError if the port cannot be had."""
    from exporter.sidecar import serve

    return serve(options.instance, options.app_port, options.address, options.port)


def run_copy(options: argparse.Namespace) -> int:
    """Copy this package and what runs it. Raises OSError if the folder cannot be written."""
    package, folder = Path(__file__).parent, options.folder
    compiled = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, folder / package.name, ignore=compiled, dirs_exist_ok=True)
    shutil.copyfile(package / "__main__.py", folder / "__main__.py")
    return 0


def _duration(value: str) -> float:
    try:
        return seconds(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _port(value: str) -> int:
    if not value.isdigit() or not 0 < int(value) < 65536:
        raise argparse.ArgumentTypeError(f"{value!r} is no port; expected 1 to 65535")
    return int(value)


def _instance(value: str) -> str:
    if INSTANCE.fullmatch(value) is None:
        raise argparse.ArgumentTypeError(
            f"{value!r} is no instance name; expected 1 to 60 letters, digits, '.', '_' or '-'"
        )
    return value
