"""`bokeh-exporter launch -- COMMAND`, `bokeh-exporter sidecar` and `bokeh-exporter copy FOLDER`.

Exit codes: that of the launched command; 2 for a wrong command line; 126 and 127, as in a shell,
for a command that cannot be run or is not found; 1 for a port that cannot be opened or a folder
that cannot be written.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from exporter.agent import pod
from exporter.console import say
from exporter.durations import seconds
from exporter.observe import PodObserver
from exporter.wire import RECONNECT_SECONDS

if TYPE_CHECKING:
    from exporter.doorkeeper import TokenGuard

NO_COMMAND = (
    "no command to launch; write it after --. A Kubernetes container with a `command` ignores the "
    "image's own ENTRYPOINT and CMD: repeat them in `args`, as [bokeh, serve, app.py]"
)
TOKEN_VARIABLE = "BOKEH_EXPORTER_TOKEN_FILE"  # noqa: S105 - names a file
INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,60}")  # a unix socket's name has at most 107 bytes


class Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line, without the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with code 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


class ShowVersion(argparse.Action):
    """Prints the version, which is looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print the version with its commit and exit with code 0."""
        from exporter.release import version_text

        print(version_text())
        parser.exit(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Raises SystemExit for --help and --version, and for a wrong command line.
    """
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except OSError as error:
        say(f"cannot {_attempt(options)}: {error.strerror or error}")
        code = _code_of(error) if options.run is run_launch else 1
    return code


def _attempt(options: argparse.Namespace) -> str:
    if options.run is run_launch:
        return f"start {options.command[0]}"
    if options.run is run_sidecar:
        return f"open port {options.port}"
    return f"copy to {options.folder}"


def _code_of(error: OSError) -> int:
    return 127 if isinstance(error, FileNotFoundError) else 126


def parser() -> Parser:
    """Return the parser of the whole command line."""
    top = Parser(
        prog="bokeh-exporter",
        description="Count the sessions of a Bokeh or Panel server, and drain it before it stops.",
    )
    top.add_argument("--version", action=ShowVersion, nargs=0, help="show the version and exit")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_launch(commands)
    _add_sidecar(commands)
    _add_copy(commands)
    return top


def _add_launch(commands: argparse._SubParsersAction[Parser]) -> None:
    launch = commands.add_parser(
        "launch",
        help="start a server with an agent in every worker, and drain it on SIGTERM",
        description="Start a server with an agent in every worker, and drain it on SIGTERM.",
        usage="bokeh-exporter launch [OPTIONS] -- bokeh serve app.py --num-procs 4",
    )
    launch.add_argument(
        "--drain-deadline",
        type=_duration,
        default=3600.0,
        metavar="DURATION",
        help="longest time to wait after SIGTERM for all sessions to end; 0s stops at once "
        "(default: 1h)",
    )
    launch.add_argument(
        "--reconnect",
        type=_duration,
        default=RECONNECT_SECONDS,
        metavar="DURATION",
        help="time to wait for clients to reconnect after their connection broke (default: 30s)",
    )
    launch.add_argument(
        "--resources",
        choices=("cgroup", "process"),
        default="cgroup",
        help="source of the memory and CPU metrics: the container's cgroup, or the processes "
        "themselves for servers that share a machine without containers (default: cgroup)",
    )
    launch.add_argument(
        "--metrics-port",
        type=_port,
        metavar="PORT",
        help="port on which to serve the sidecar's pages, for a pod without a sidecar "
        "(default: none)",
    )
    launch.add_argument(
        "--hand-off",
        choices=("on", "off"),
        default=os.environ.get(pod.HAND_OFF, "on"),
        help="whether the workers of `--num-procs` hand connections to each other, so that each "
        f"user has one session in one worker (default: ${pod.HAND_OFF}, else on)",
    )
    _add_common(launch)
    _add_token(launch)
    launch.add_argument(
        "command",
        nargs=argparse.REMAINDER,
        metavar="-- COMMAND",
        help="command that starts the server",
    )
    launch.set_defaults(run=run_launch, parser=launch)


def _add_sidecar(commands: argparse._SubParsersAction[Parser]) -> None:
    sidecar = commands.add_parser(
        "sidecar",
        help="serve /metrics, /state, /healthz and /readyz for the workers of this pod",
        description="Serve /metrics, /state, /healthz and /readyz for the workers of this pod.",
    )
    sidecar.add_argument(
        "--port",
        type=_port,
        default=9550,
        metavar="PORT",
        help="port on which to serve the pages (default: 9550)",
    )
    sidecar.add_argument(
        "--address",
        default="",
        help="address on which to serve the pages (default: all IPv4 and IPv6 addresses)",
    )
    _add_common(sidecar)
    _add_token(sidecar)
    sidecar.set_defaults(run=run_sidecar, parser=sidecar)


def _add_copy(commands: argparse._SubParsersAction[Parser]) -> None:
    copy = commands.add_parser(
        "copy",
        help="copy the launcher and the agent into a folder, for app images you cannot modify",
        description="Copy the launcher and the agent into a folder. `python FOLDER launch -- "
        "COMMAND` then does the same as `bokeh-exporter launch -- COMMAND`, and needs no package "
        "beyond the standard library.",
    )
    copy.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="folder to copy into; it is created if it is missing",
    )
    copy.set_defaults(run=run_copy)


def _add_common(command: Parser) -> None:
    command.add_argument(
        "--instance",
        type=_instance,
        default=pod.instance(),
        help="name to distinguish several servers in one network namespace; not needed in a pod",
    )
    command.add_argument(
        "--trusted-uids",
        type=_uids,
        default=os.environ.get(pod.TRUSTED, ""),
        metavar="UID,UID",
        help="user IDs that agents, launcher and sidecar trust in addition to root and the user "
        "they run as; needed if the sidecar and the app run as different users",
    )
    command.add_argument(
        "--app-port",
        type=_port,
        metavar="PORT",
        help="port on which the app is served; sessions on other ports, such as those of a "
        "dashboard within the app, are not counted (default: all ports on which the app listens)",
    )


def _add_token(command: Parser) -> None:
    given = os.environ.get(TOKEN_VARIABLE)
    command.add_argument(
        "--token-file",
        type=Path,
        default=Path(given) if given else None,
        metavar="FILE",
        help="file with the bearer tokens, one per line, of which a reader of /state must send "
        f"one; reread for each request (default: ${TOKEN_VARIABLE}, else no token is required)",
    )
    command.add_argument(
        "--token-for-metrics",
        action="store_true",
        help="require a token for /metrics too; set it in Prometheus as "
        "authorization.credentials_file",
    )


def run_launch(options: argparse.Namespace) -> int:
    """Launch the command and return its exit code. Raises OSError if it cannot be started."""
    from exporter.child_processes import ProcessTree
    from exporter.launch import Launcher

    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        options.parser.error(NO_COMMAND)
    options.command = command
    os.environ["BOKEH_EXPORTER_RESOURCES"] = options.resources
    os.environ[pod.TRUSTED] = options.trusted_uids
    os.environ[pod.HAND_OFF] = options.hand_off
    family = ProcessTree()
    observer = PodObserver(options.instance, options.app_port, family.trusts)
    pages = _pages(options, observer) if options.metrics_port else None
    waits = options.drain_deadline, options.reconnect
    return Launcher(command, options.instance, *waits, observer, family, pages).run()


def _pages(options: argparse.Namespace, observer: PodObserver) -> Callable[[], None]:
    """Return the function that starts to serve the pages of `--metrics-port`.

    Raises SystemExit if the port cannot be opened or a package is missing.
    """
    try:
        from exporter.sidecar import server

        return server(observer, "", options.metrics_port, _guard(options)).start
    except OSError as error:
        problem = (
            f"cannot open port {options.metrics_port}: {error.strerror}; choose another "
            "--metrics-port"
        )
    except ModuleNotFoundError as error:
        problem = (
            f"--metrics-port needs the package {error.name}, which is missing; run pip install "
            "prometheus-client h11, or run the sidecar instead"
        )
    say(problem)
    raise SystemExit(1)


def run_sidecar(options: argparse.Namespace) -> int:
    """Serve the pages until the app has ended. Raises OSError if the port cannot be opened."""
    from exporter.sidecar import serve

    os.environ[pod.TRUSTED] = options.trusted_uids
    guard = _guard(options)
    return serve(options.instance, options.app_port, options.address, options.port, guard)


def _guard(options: argparse.Namespace) -> TokenGuard | None:
    """Return what checks the tokens, or None if the options require none.

    Raises SystemExit if the options contradict each other or the file holds no token.
    """
    from exporter.doorkeeper import TokenGuard
    from exporter.tokens import TokenError, TokenFile

    if options.token_file is None:
        if options.token_for_metrics:
            options.parser.error("--token-for-metrics needs --token-file")
        return None
    pages = ["/state", "/metrics"] if options.token_for_metrics else ["/state"]
    try:
        return TokenGuard(TokenFile(options.token_file), pages)
    except TokenError as error:
        say(str(error))
        raise SystemExit(1) from None


def run_copy(options: argparse.Namespace) -> int:
    """Copy this package, with an entry point beside it, into the folder.

    Raises OSError if the folder cannot be written.
    """
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
        raise argparse.ArgumentTypeError(f"{value!r} is not a port; expected 1 to 65535")
    return int(value)


def _uids(value: str) -> str:
    if value and len(pod.named_uids(value)) != len(value.split(",")):
        raise argparse.ArgumentTypeError(
            f"{value!r} is not a list of user IDs; expected numbers such as 1000,1001"
        )
    return value


def _instance(value: str) -> str:
    if INSTANCE.fullmatch(value) is None:
        raise argparse.ArgumentTypeError(
            f"{value!r} is not an instance name; expected 1 to 60 letters, digits, '.', '_' or '-'"
        )
    return value
