"""`autoscaler completion`: the script with which a shell completes commands and options.

The script has all of them in it, so that no key press starts Python. kubectl alone asks a program
for what it offers for a plugin: `kubectl_complete-autoscaler`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from autoscaler.commands.catalog import COMMANDS, module_of, parser_of

SHELLS = ("bash", "zsh", "fish")
# What kubectl is to do beside the offers: nothing, or to complete names of files.
NO_FILES, FILES = ":4", ":0"

# What completes an argument of any text. Without it zsh shows its help and completes no option.
NOTHING = {"zsh": "( )"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the argument of the command."""
    parser.add_argument("shell", choices=SHELLS, help="shell that reads the script")


def run(args: argparse.Namespace) -> int:
    """Print the script and return 0."""
    import shtab

    print(shtab.complete(_whole(shtab.FILE), args.shell))
    return 0


def _whole(file: object) -> argparse.ArgumentParser:
    """Return one parser with all commands. file: what marks an option as the name of a file."""
    parser = argparse.ArgumentParser("autoscaler")
    parser.add_argument("--version", action="store_true", help="show the version")
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, about in COMMANDS.items():
        command = commands.add_parser(name, help=about, description=about)
        module_of(name).add_arguments(command)
        for action in _actions(command):
            if _is_file(action):
                action.complete = file  # type: ignore[attr-defined]
            elif not action.option_strings and not action.choices:
                action.complete = NOTHING  # type: ignore[attr-defined]
    return parser


def complete_for_kubectl() -> None:
    """Print what completes the last argument, a line each, as kubectl asks of a plugin."""
    *before, last = sys.argv[1:] or [""]
    found, directive = _offers(before, last)
    print(*(each for each in found if each.startswith(last)), directive, sep="\n")


def _offers(before: Sequence[str], last: str) -> tuple[Sequence[str], str]:
    """Return all that may stand in the last place, and what kubectl is to do beside."""
    if not before:
        return [f"{name}\t{about}" for name, about in COMMANDS.items()], NO_FILES
    if before[0] not in COMMANDS:
        return [], NO_FILES
    actions = list(_actions(parser_of(before[0])))
    valued = (each for each in actions if before[-1] in each.option_strings and each.nargs != 0)
    asked = next(valued, None)
    if asked is None and last.startswith("-"):
        return [name for each in actions for name in each.option_strings], NO_FILES
    if asked is None:
        asked = next((each for each in actions if not each.option_strings), None)
    choices = [str(each) for each in (asked and asked.choices) or ()]
    return choices, FILES if asked is not None and _is_file(asked) else NO_FILES


def _is_file(action: argparse.Action) -> bool:
    return action.type is Path or action.metavar == "FILE"


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    yield from parser._actions  # noqa: SLF001 - argparse tells of its options in no other way
