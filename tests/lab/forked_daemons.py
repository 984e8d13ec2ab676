"""Daemons as processes of their own, forked from one that has imported everything.

`autoscaler run` takes a second of a processor to be imported. A fork takes a hundredth of it, so a
test can kill a daemon and start another one as often as it likes.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from autoscaler import cli
from autoscaler.adapters.clock import SystemClock
from autoscaler.commands import connect

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        __name__,
        "autoscaler.adapters.kubernetes.leases",
        "autoscaler.adapters.kubernetes.watched_cluster",
        "autoscaler.adapters.prometheus.source",
        "autoscaler.adapters.sidecars",
        "autoscaler.commands.run",
    ]
)


def start(words: Sequence[str | Path], log: Path, ahead: Path) -> BaseProcess:
    """Start `autoscaler` with these words.

    ahead: file with the seconds by which its machine's clock is ahead, which may change.
    """
    process = _CONTEXT.Process(target=_run, args=([*map(str, words)], log, ahead), daemon=True)
    process.start()
    return process


def _run(words: list[str], log: Path, ahead: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    wall = lambda: time.time() + float(ahead.read_text())  # noqa: E731
    connect.SystemClock = lambda: SystemClock(wall)  # type: ignore[assignment, misc]
    sys.exit(cli.main(words))
