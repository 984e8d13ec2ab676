"""The `autoscaler` command. Each subcommand is a module of `autoscaler.commands`.

Only the chosen subcommand is imported, so `--help` and `check` start fast. Exit codes: 0 for
success, 1 for a failure (the reason is on standard error), 2 for wrong input or usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from io import TextIOWrapper

from autoscaler.errors import install_hint

COMMANDS = {
    "run": "run the daemon, which scales the targets of all policies",
    "check": "check policy files and print every error in them",
    "decide": "print one scaling decision and how it was made, without scaling",
    "doctor": "report all that will hurt in a set-up, with fixes",
    "replay": "decide again what a journal recorded, and print the share reproduced",
    "explain": "explain one decision of a journal in words",
    "simulate": "simulate a policy on recorded or generated sessions",
    "tune": "find the cheapest policy that meets a goal on recorded or generated sessions",
    "diff": "show what an edit of a policy changes, in its settings and on a trace",
    "remove": "remove everything that the daemon wrote into the cluster",
    "demo": "scale real Bokeh servers on this machine for two minutes",
    "users": "open an app with many real sessions, to see it scale",
    "schema": "print the JSON Schema of a policy, for editors",
}
USAGE, FAILED = 2, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _print_what_the_terminal_cannot()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in COMMANDS:
        return _run(words[0], words[1:])
    parser = _overview()
    if not words:
        parser.print_help()
        return USAGE
    parser.parse_args(words)
    return USAGE


def _run(name: str, words: Sequence[str]) -> int:
    try:
        module = import_module(f"autoscaler.commands.{name}")
        about = COMMANDS[name]
        parser = argparse.ArgumentParser(
            f"autoscaler {name}", description=f"{about[0].upper()}{about[1:]}."
        )
        module.add_arguments(parser)
        code: int = module.run(parser.parse_args(words))
    except ModuleNotFoundError as error:
        problem = f"autoscaler {name}: the package {error.name} is missing"
        print(f"{problem}; {install_hint('daemon,report')}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    return code


def _print_what_the_terminal_cannot() -> None:
    """Escape characters that the terminal cannot show, instead of failing on them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _overview() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS)) + 2
    parser = argparse.ArgumentParser(
        "autoscaler",
        description="Scale Bokeh and Panel Deployments by their sessions.",
        epilog="commands:\n"
        + "\n".join(f"  {name:<{width}}{about}" for name, about in COMMANDS.items())
        + "\n\n`autoscaler COMMAND --help` shows the options of a command."
        + "\nexit codes: 0 success, 1 failure, 2 wrong input or usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version("bokeh-autoscaler"))
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="subcommand to run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
