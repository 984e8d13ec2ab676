"""A progress bar for work that takes longer than two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

PATIENCE = 2.0


class Progress(Protocol):
    """Called with the progress of some work."""

    def __call__(self, share: float, /) -> None:
        """Show the share that is done, from 0 to 1."""


@contextmanager
def progress(doing: str) -> Iterator[Progress]:
    """Show a progress bar on standard error if it is a terminal, after two seconds.

    doing: what takes so long, in front of the bar.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    began = time.monotonic()
    with ExitStack() as stack:
        bar: Any = None

        def show(share: float) -> None:
            nonlocal bar
            if bar is None and time.monotonic() - began > PATIENCE:
                bar = stack.enter_context(_bar(doing))
            if bar is not None:
                bar.update(bar.task_ids[0], completed=share)

        yield show


def _bar(doing: str) -> Any:
    from rich.console import Console
    from rich.progress import Progress as RichProgress

    bar = RichProgress(console=Console(stderr=True), transient=True)
    bar.add_task(doing, total=1.0)
    return bar
