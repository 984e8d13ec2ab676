"""The `autoscaler` command. Each subcommand is a module of `autoscaler.commands`.

Only the chosen subcommand is imported, so `--help` and `check` start fast. Exit codes: 0 for
success, 1 for a failure (the reason is on standard error), 2 for wrong input or usage.
"""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path

from autoscaler.commands.catalog import COMMANDS, module_of, parser_of
from autoscaler.errors import install_hint
from exporter.release import version_text

USAGE, FAILED = 2, 1
# Errors of an output that takes no more.
NOTHING_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
OLDEST_PYTHON = (3, 11)  # the exporter, which is in the same package, runs on 3.10 too


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _print_what_the_terminal_cannot()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if sys.version_info < OLDEST_PYTHON and words != ["--version"]:
        return _refuse_this_python()
    if words and words[0] in COMMANDS:
        return _run(words[0], words[1:])
    parser = _overview()
    if not words:
        parser.print_help()
        return USAGE
    parser.parse_args(words)
    return USAGE


def _refuse_this_python() -> int:
    needed, found = (".".join(map(str, each[:2])) for each in (OLDEST_PYTHON, sys.version_info))
    problem = f"autoscaler needs Python {needed} or newer, and this is {found}"
    print(f"{problem}; only bokeh-exporter runs on {found}", file=sys.stderr)
    return FAILED


def _run(name: str, words: Sequence[str]) -> int:
    try:
        options = parser_of(name, _program()).parse_args(words)
        code: int = module_of(name).run(options)
        _flush()
    except ModuleNotFoundError as error:
        problem = f"autoscaler {name}: the package {error.name} is missing"
        print(f"{problem}; {install_hint('daemon,report')}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except OSError as error:
        if error.errno not in NOTHING_MORE:
            raise
        print(f"standard output: cannot be written ({error.strerror})", file=sys.stderr)
        with suppress(OSError):
            sys.stdout.close()  # or Python writes what is left once more, and fails again
        return FAILED
    return code


def _flush() -> None:
    """Write what is printed now, because nobody could tell of an error when Python has ended."""
    if sys.stdout is not None:  # it is closed
        sys.stdout.flush()


def _program() -> str:
    """Return what the user typed: kubectl runs `kubectl-autoscaler` as `kubectl autoscaler`."""
    is_plugin = Path(sys.argv[0]).name == "kubectl-autoscaler"
    return "kubectl autoscaler" if is_plugin else "autoscaler"


def _print_what_the_terminal_cannot() -> None:
    """Escape characters that the terminal cannot show, instead of failing on them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _overview() -> argparse.ArgumentParser:
    width, program = max(map(len, COMMANDS)) + 2, _program()
    parser = argparse.ArgumentParser(
        program,
        description="Scale Bokeh and Panel Deployments by their sessions.",
        epilog="commands:\n"
        + "\n".join(f"  {name:<{width}}{about}" for name, about in COMMANDS.items())
        + f"\n\n`{program} COMMAND --help` shows the options of a command."
        + "\nexit codes: 0 success, 1 failure, 2 wrong input or usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version_text())
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="subcommand to run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
