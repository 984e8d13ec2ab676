"""Values that are read again and again while somebody looks at them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

from autoscaler.errors import AutoscalerError

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
# Seconds after which a value is no longer read that nobody has asked for.
FORGOTTEN_AFTER = 60.0


class Latest(NamedTuple, Generic[Value]):
    """The last value that could be read, and why the last attempt failed; "": it did not.

    at: when the value was read, by the steady clock. number: of the attempt.
    """

    value: Value | None
    at: float
    number: int
    problem: str = ""


class Kept(Generic[Key, Value]):
    """Reads the value of each key that is asked for every so many seconds, in a thread of its own.

    So asking never waits, and nothing is read while no page is open. read: may raise.
    """

    def __init__(
        self,
        read: Callable[[Key], Value],
        every: float,
        forgotten_after: float = FORGOTTEN_AFTER,
    ) -> None:
        self._read = read
        self._every = every
        self._forgotten_after = forgotten_after
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._asked: dict[Key, float] = {}
        self._tried: dict[Key, float] = {}
        self._found: dict[Key, Latest[Value]] = {}
        self._thread: threading.Thread | None = None

    def latest(self, key: Key) -> Latest[Value] | None:
        """Return what was read last, or None before the first attempt has ended."""
        with self._lock:
            is_new = key not in self._asked
            self._asked[key] = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep, daemon=True)
                self._thread.start()
        if is_new:
            self._wake.set()
        return self._found.get(key)

    def _keep(self) -> None:
        while True:
            self._wake.clear()
            now = time.monotonic()
            due, key = min(
                self._due(now), key=itemgetter(0), default=(now + self._forgotten_after, None)
            )
            if key is None or due > now:
                self._wake.wait(due - now)
            else:
                self._try(key)

    def _due(self, now: float) -> list[tuple[float, Key]]:
        """Return when each value is to be read next, without those that nobody asks for."""
        with self._lock:
            for key in [key for key, at in self._asked.items() if now - at > self._forgotten_after]:
                for each in (self._asked, self._tried, self._found):
                    each.pop(key, None)
            return [
                (self._tried.get(key, now - self._every) + self._every, key) for key in self._asked
            ]

    def _try(self, key: Key) -> None:
        last = self._found.get(key) or Latest(None, 0.0, 0)
        try:
            found = Latest(self._read(key), time.monotonic(), last.number + 1)
        except Exception as error:
            told = str(error) if isinstance(error, AutoscalerError) else repr(error)
            found = last._replace(number=last.number + 1, problem=told)
        with self._lock:
            self._tried[key] = time.monotonic()
            self._found[key] = found
