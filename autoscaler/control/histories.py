"""Reads what Prometheus has recorded, one history after another, beside the passes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from math import inf
from typing import Generic, NamedTuple, TypeVar

from autoscaler.control.state_store import Key, StateStore
from autoscaler.errors import AutoscalerError
from autoscaler.model import TargetRef
from autoscaler.ports import Clock
from autoscaler.units import duration_text

LOG = logging.getLogger("autoscaler")
# Seconds after which a history is read again that could not be read, twice as long each time.
FIRST_REST, LONGEST_REST = 60.0, 3_600.0
T = TypeVar("T")


class _Rest(NamedTuple):
    """Until when a history is not read, by the steady clock. failures: since it last was."""

    until: float
    failures: int = 0


class Histories(Generic[T]):
    """The histories that are read, and what those that were say.

    read: returns what the history of a target says, and the seconds after which it may be read
    again. It may take minutes, and raise. what: the history in words, for the log.
    """

    def __init__(
        self,
        name: str,
        what: str,
        read: Callable[[Key, TargetRef], tuple[T, float]],
        store: StateStore,
        clock: Clock,
    ) -> None:
        self._name = name
        self._what = what
        self._read = read
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted: dict[Key, TargetRef] = {}
        self._found: dict[Key, T] = {}
        self._rests: dict[Key, _Rest] = {}
        self._is_reading = False

    def take(self, key: Key) -> T | None:
        """Return what has been read since it was last asked for; None: nothing."""
        with self._lock:
            return self._found.pop(key, None)

    def want(self, key: Key, ref: TargetRef) -> None:
        """Have a history read, unless it has to rest."""
        with self._lock:
            if self._clock.steady() < self._rests.get(key, _Rest(-inf)).until:
                return
            self._wanted.setdefault(key, ref)
            if self._is_reading:
                return
            self._is_reading = True
        # A daemon thread does not keep the process from ending.
        threading.Thread(target=self._read_all, name=self._name, daemon=True).start()

    def forget(self) -> None:
        """Drop what belongs to policies that are gone, or that another daemon evaluates."""
        with self._lock:
            for each in (self._wanted, self._found, self._rests):
                for key in [key for key in each if self._store.of(key) is None]:
                    del each[key]

    def _read_all(self) -> None:
        """Read until nothing is wanted, and leave Prometheus to others for half of the time."""
        while True:
            with self._lock:
                if not self._wanted:
                    self._is_reading = False
                    return
                key, ref = next(iter(self._wanted.items()))
            began = time.monotonic()
            self._read_one(key, ref)
            time.sleep(time.monotonic() - began)

    def _read_one(self, key: Key, ref: TargetRef) -> None:
        found: list[T] = []
        try:
            value, seconds = self._read(key, ref)
            found, rest = [value], _Rest(self._clock.steady() + seconds)
        except Exception as error:
            rest = self._failed(key, error)
        with self._lock:
            self._wanted.pop(key, None)
            self._rests[key] = rest
            if found:
                self._found[key] = found[0]

    def _failed(self, key: Key, error: Exception) -> _Rest:
        """Return for how long to rest, and log the first failure of several."""
        with self._lock:
            failures = self._rests.get(key, _Rest(-inf)).failures
        seconds = min(LONGEST_REST, FIRST_REST * 2.0**failures)
        if not failures:
            LOG.warning(
                "%s: cannot read %s; the next attempt is in %s: %s",
                key.policy,
                self._what,
                duration_text(seconds),
                error if isinstance(error, AutoscalerError) else repr(error),
            )
        return _Rest(self._clock.steady() + seconds, failures + 1)
