"""`autoscaler simulate --watch`: simulate again whenever a policy file is saved."""

from __future__ import annotations

import argparse
import time
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from autoscaler.adapters.live_page import LivePage
from autoscaler.commands.lines import say

LOOK_EVERY = 0.2

Signature = tuple[tuple[int, int, int] | None, ...]


def watch(args: argparse.Namespace, simulate: Callable[[], int]) -> int:
    """Simulate again after each save, until Ctrl-C, and return the last exit code.

    simulate: prints the scores and writes the report to `args.html`. What cannot be simulated is
    told, and the page keeps the last report.
    """
    files = [args.policy, *map(Path, args.against)]
    code, seen = 0, None
    with closing(LivePage()) as page:
        say(f"The report is at {page.url} and follows each save of the policy; Ctrl-C ends this.")
        try:
            while True:
                if (now := _signature(files)) != seen:
                    first, seen = seen is None, now
                    code = simulate()
                    if args.html.exists():
                        page.show(args.html.read_text(encoding="utf-8"))
                    if first and args.open:
                        webbrowser.open(page.url)
                time.sleep(LOOK_EVERY)
        except KeyboardInterrupt:
            return code


def _signature(files: Sequence[Path]) -> Signature:
    """Return what changes when one of the files is saved; None for one that is not there."""
    return tuple(map(_stat, files))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
