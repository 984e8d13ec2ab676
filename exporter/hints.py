"""What an app may say of its own sessions, so that scaling takes it into account.

    try:
        from exporter import hints
    except ImportError:
        hints = None

Each call concerns the session whose code runs: its script, a callback, or a task of these. In a
thread, and in a coroutine after an `await`, name the session by its document. Without the agent a
call does nothing. No call raises: a wrong argument, and a call outside of a session, is one warning
in the log. A hint ends with its session.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

# The agent under its private name, as the launcher loads it, and as `exporter.plugin` does.
AGENTS = ("_bokeh_exporter.agent.hinting", "exporter.agent.hinting")


def busy_until(when: float | timedelta | datetime, document: object = None) -> None:
    """Say that the app works in the session until a time, at most a day from now.

    Until then the session is kept without a client too, its pod is not empty, and its user is not
    asked whether the page is still used. A second call replaces the first one.

    when: seconds from now, a timedelta, or a datetime (local time if it has no time zone).
    """
    _tell("busy_until", when, document)


def idle(document: object = None) -> None:
    """Say that the work that `busy_until` announced has ended."""
    _tell("idle", None, document)


def may_close(allowed: bool = True, document: object = None) -> None:
    """Say that closing the page loses nothing, so that it may be closed when its pod is drained."""
    _tell("may_close", allowed, document)


def costs(seats: float, document: object = None) -> None:
    """Say how many seats the session takes: more than 0 and at most 1000, instead of 1."""
    _tell("costs", seats, document)


def _tell(name: str, value: object, document: object) -> None:
    for each in AGENTS:
        agent = sys.modules.get(each)
        take = getattr(agent, "take", None)  # None while it is being imported
        if take is not None:
            take(name, value, document)
            return
