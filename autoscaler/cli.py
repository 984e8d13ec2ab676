"""The `autoscaler` command. Each subcommand is a module of `autoscaler.commands`.

Only the chosen one is imported, so `--help` and `check` answer at once.
Exit codes: 0 done, 1 it failed (the reason is on standard error), 2 bad input or usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from io import TextIOWrapper

COMMANDS = {
    "run": "watch the policies' targets and scale them (the daemon)",
    "check": "say whether policy files are right, and every error if not",
    "decide": "print one decision and how it came about",
    "simulate": "show what a policy would do, before it ships",
    "demo": "scale real Bokeh servers on this machine for two minutes",
    "schema": "print the JSON schema of a policy, for editors",
}
USAGE, FAILED = 2, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
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
        parser = argparse.ArgumentParser(f"autoscaler {name}", description=COMMANDS[name])
        module.add_arguments(parser)
        code: int = module.run(parser.parse_args(words))
    except ModuleNotFoundError as error:
        problem = f"autoscaler {name}: the package {error.name} is missing"
        print(f"{problem}: pip install 'bokeh-autoscaler[daemon,report]'", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    return code


def _print_what_the_terminal_cannot() -> None:
    """A name with an accent on an ASCII terminal is escaped, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _overview() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS)) + 2
    parser = argparse.ArgumentParser(
        "autoscaler",
        description="Scales Bokeh and Panel Deployments by their sessions.",
        epilog="commands:\n"
        + "\n".join(f"  {name:<{width}}{about}" for name, about in COMMANDS.items())
        + "\n\nautoscaler COMMAND --help shows the options of one."
        + "\nexit codes: 0 done, 1 failed, 2 bad input or usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version("bokeh-autoscaler"))
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    return parser


if __name__ == "__main__":
    sys.exit(main())
