"""This process's worker, created when a server first runs here, and again in a forked child."""

from __future__ import annotations

import os
import threading
import weakref
from types import ModuleType
from typing import Any

from . import answer
from .worker import Worker

contexts: weakref.WeakSet[Any] = weakref.WeakSet()  # every ApplicationContext that was created
_table: list[ModuleType] = []  # exporter.metrics, set by the bootstrap
_workers: list[Worker] = []  # at most one
_lock = threading.Lock()


def declare(table: ModuleType) -> None:
    """Set the metric table, because the agent cannot import it by name."""
    _table[:] = [table]


def known() -> Worker | None:
    """Return this process's worker, or None if no server has run here yet."""
    return _workers[0] if _workers else None


def worker() -> Worker:
    """Return this process's worker; the first call starts to answer collectors."""
    if not _workers:
        with _lock:
            if not _workers:
                made = Worker(_table[0], contexts, worker)
                _workers.append(made)
                answer.start(made.slot(), made.report, made.sample, made.on_message)
    return _workers[0]


def _begin_anew() -> None:
    """Discard the parent's worker, whose sessions, counts and socket the child does not have."""
    global _lock  # noqa: PLW0603 - another thread may have held the old one at the fork
    _lock = threading.Lock()
    _workers.clear()
    answer.forget()


os.register_at_fork(after_in_child=_begin_anew)
