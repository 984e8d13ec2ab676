"""What an application has said of its own sessions, by `exporter.hints`.

A hint belongs to the session's document, because an application may speak before its session
exists, and ends with it. It concerns no other session, and no other process can give one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite, isnan
from typing import Any
from weakref import WeakKeyDictionary

from ..texts import visible  # noqa: TID252 - not by the name `exporter`, which may be the app's

LOG = logging.getLogger("exporter.hints")
MOST_BUSY_SECONDS = 86_400.0
MOST_SEATS = 1000.0  # that one session may take
MOST_WARNINGS = 100  # that differ; each is logged once
LONGEST_WARNING = 300  # characters: an argument may be a table

_warned: set[str] = set()


@dataclass(slots=True)
class Hints:
    """The hints on one session. busy_until: of the monotonic clock. seats: None without a hint."""

    busy_until: float = 0.0
    may_close: bool = False
    seats: float | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the application works in the session now."""
        return time.monotonic() < self.busy_until


_hints: WeakKeyDictionary[Any, Hints] = WeakKeyDictionary()  # by document
_loops: set[Any] = set()  # in which sessions live
os.register_at_fork(after_in_child=_hints.clear)  # the child does not have the sessions
os.register_at_fork(after_in_child=_loops.clear)


def serve(loop: Any) -> None:
    """Take what is said in an event loop as said by the sessions that live in it."""
    _loops.add(loop)


def take(name: str, value: object, document: object = None) -> None:
    """Take a hint on the session of a document, by default of the one whose code runs.

    Does nothing where no server runs. Never raises: a wrong argument is one warning in the log, and
    so is a call in which nobody can know the session.
    """
    try:
        _take(name, value, document)
    except (TypeError, ValueError) as mistake:
        warn(f"{name}: {mistake}")
    except Exception as error:  # the application must run on
        warn(f"{name}: the hint was not taken: {error!r}")


def warn(message: str) -> None:
    """Log a warning for the author of the application, on one line, each only once."""
    message = visible(message, LONGEST_WARNING)
    if message not in _warned and len(_warned) < MOST_WARNINGS:
        _warned.add(message)
        LOG.warning("hints.%s", message)


def _take(name: str, value: object, given: object) -> None:
    attribute, checked = KINDS[name]
    wanted = checked(value)
    document = _current() if given is None else _plain(given)
    if document is None or document.session_context is None:
        return
    setattr(_hints.setdefault(document, Hints()), attribute, wanted)


def _current() -> Any:
    """Return the document whose code runs here, or None outside of one. Raises ValueError.

    Bokeh's own is one for all threads: elsewhere than in the loop of the sessions it may be that of
    another session.
    """
    panel = getattr(sys.modules.get("panel.io.state"), "state", None)
    known = panel._curdoc.get() if panel is not None else None
    if known is not None:
        return _plain(known)
    from bokeh.io import curdoc

    document = _plain(curdoc())
    if document.session_context is None:
        if not _loops:  # no server runs, as in a script
            return None
        raise ValueError("called outside of a session, expected document=DOCUMENT there")
    with suppress(RuntimeError):  # no event loop runs in this thread
        if asyncio.get_running_loop() in _loops:
            return document
    raise ValueError("called in a thread, expected document=DOCUMENT there")


def _plain(document: Any) -> Any:
    """Return the document behind Bokeh's proxy for callbacks without a lock. Raises TypeError."""
    found = getattr(document, "_doc", document)
    if not hasattr(found, "session_context"):
        raise TypeError(f"expected a Document, not {type(document).__name__}")
    return found


def busy_until(when: object) -> float:
    """Return the time of the monotonic clock that is so many seconds away, at most a day.

    when: seconds from now, a timedelta, or a datetime. Raises ValueError.
    """
    if isinstance(when, datetime):
        seconds = max(0.0, when.timestamp() - time.time())
    elif isinstance(when, timedelta):
        seconds = when.total_seconds()
    else:
        seconds = _number(when, "seconds from now, a timedelta or a datetime")
    if isnan(seconds) or seconds < 0:
        raise ValueError(f"expected a time from now on, not {when!r}")
    if seconds > MOST_BUSY_SECONDS:
        warn(f"busy_until: {when!r} is more than a day from now; the session is busy for a day")
    return time.monotonic() + min(seconds, MOST_BUSY_SECONDS)


def may_close(allowed: object) -> bool:
    """Return whether a session may be closed. Raises TypeError."""
    if not isinstance(allowed, bool):
        raise TypeError(f"expected True or False, not {allowed!r}")
    return allowed


def costs(seats: object) -> float:
    """Return the seats that a session takes. Raises ValueError."""
    number = _number(seats, "a number of seats")
    if not isfinite(number) or not 0 < number <= MOST_SEATS:
        raise ValueError(f"expected more than 0 and at most {MOST_SEATS:g} seats, not {seats!r}")
    return number


def _number(value: object, expected: str) -> float:
    """Return a number, also one of numpy. Raises TypeError."""
    if isinstance(value, bool | str | bytes):
        raise TypeError(f"expected {expected}, not {value!r}")
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"expected {expected}, not {type(value).__name__}") from None


KINDS: dict[str, tuple[str, Callable[[object], Any]]] = {
    "busy_until": ("busy_until", busy_until),
    "idle": ("busy_until", lambda _: 0.0),
    "may_close": ("may_close", may_close),
    "costs": ("seats", costs),
}


def hints_of(session: Any) -> Hints | None:
    """Return the hints on a session, or None if there are none or it was destroyed."""
    document = getattr(session, "_document", None)
    return None if document is None else _hints.get(document)


def is_busy(session: Any) -> bool:
    """Return whether the application has said that it works in a session now."""
    hints = hints_of(session)
    return hints is not None and hints.is_busy


def may_be_closed(session: Any) -> bool:
    """Return whether the application lets a session be closed, in which it does not work now."""
    hints = hints_of(session)
    return hints is not None and hints.may_close and not hints.is_busy


def hinted() -> Iterator[tuple[Any, Hints]]:
    """Yield each session with its hints. Sessions that are still being created are left out."""
    for document, hints in _pairs():
        with suppress(AttributeError):  # its session was destroyed in the meantime
            session = document.session_context.session
            if session is not None:
                yield session, hints


def _pairs() -> list[tuple[Any, Hints]]:
    while True:
        try:
            return list(_hints.items())
        except RuntimeError:  # changed size during iteration
            continue


def count_as_blocking(owner: Any) -> None:
    """Make Bokeh keep a session without a client while its application works in it.

    owner: the class ServerSession. Bokeh asks it how often its expiration is blocked.
    """
    original = owner.expiration_blocked_count.fget
    if original.__module__ == __name__:  # it was done before
        return
    owner.expiration_blocked_count = property(lambda self: original(self) + is_busy(self))
    owner.expiration_blocked = property(lambda self: self.expiration_blocked_count > 0)
