"""Teaches the forecasts of a new leader, or of a new policy, what Prometheus has recorded.

No Lease has room for them, and Prometheus has kept all that they are made of. One thread reads one
history after the other while passes go on, and a pass takes over what has been read. Without it,
or until then, forecasts are learnt from what comes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from functools import partial
from math import inf
from typing import NamedTuple

from autoscaler.control.actor import key_of
from autoscaler.control.state_store import Key, StateStore
from autoscaler.core import forecast
from autoscaler.errors import AutoscalerError
from autoscaler.model import Arrivals, Profile, TargetRef
from autoscaler.policy import Policy
from autoscaler.ports import ArrivalHistory, Clock, TargetState
from autoscaler.units import duration_text

LOG = logging.getLogger("autoscaler")
# Two weeks, in seconds: a weekday of the week before may have been a holiday.
SPAN = 1_209_600.0
# Seconds after which a history is read again that could not be read, twice as long each time.
FIRST_REST, LONGEST_REST = 60.0, 3_600.0
NOTHING = Profile("", "", Arrivals(0.0, 0.0, 0.0, 0.0))


class _Rest(NamedTuple):
    """Until when a history is not read, by the steady clock. failures: since it last was."""

    until: float
    failures: int = 0


class Learning:
    """The histories that are read, and those that were. history: None: there is none to read."""

    def __init__(self, history: ArrivalHistory | None, store: StateStore, clock: Clock) -> None:
        self._history = history
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted: dict[Key, TargetRef] = {}
        self._found: dict[Key, Profile] = {}
        self._rests: dict[Key, _Rest] = {}
        self._learnt = set[Key]()  # since the policy began to forecast
        self._is_reading = False

    def follow(self, policies: Iterable[Policy], targets: Mapping[TargetRef, object]) -> None:
        """Take over what has been read for these policies, and have read what is missing.

        No write of any of them may be under way.
        """
        if self._history is None:
            return
        self._forget()
        for policy in policies:
            target = targets[policy.target.ref]
            if isinstance(target, TargetState):
                key = key_of(policy, target)
                if policy.forecasts:
                    self._follow(key, target.ref, self._history)
                else:
                    self._learnt.discard(key)

    def _follow(self, key: Key, ref: TargetRef, history: ArrivalHistory) -> None:
        state = self._store.of(key)
        traffic = state and state.traffic
        if state is None or traffic is None or traffic.profile is None:
            return
        with self._lock:
            found = self._found.pop(key, None)
        if found is not None:
            self._learnt.add(key)
            if found.week:
                profile = found._replace(current=traffic.profile.current)
                self._store.keep(key, state._replace(traffic=traffic._replace(profile=profile)))
        elif self._is_due(key, is_new=not traffic.profile.week):
            self._begin(key, ref, history)

    def _is_due(self, key: Key, *, is_new: bool) -> bool:
        """Return whether to read a history. is_new: whether nothing at all is known."""
        rest = self._rests.get(key, _Rest(-inf))
        return (is_new or key not in self._learnt) and self._clock.steady() >= rest.until

    def _begin(self, key: Key, ref: TargetRef, history: ArrivalHistory) -> None:
        with self._lock:
            self._wanted.setdefault(key, ref)
            if self._is_reading:
                return
            self._is_reading = True
        # A daemon thread does not keep the process from ending.
        read = partial(self._read_all, history)
        threading.Thread(target=read, name="learning", daemon=True).start()

    def _forget(self) -> None:
        """Drop what belongs to policies that are gone, or that another daemon evaluates."""
        with self._lock:
            for each in (self._wanted, self._found, self._rests):
                for key in [key for key in each if self._store.of(key) is None]:
                    del each[key]
        self._learnt = {key for key in self._learnt if self._store.of(key) is not None}

    def _read_all(self, history: ArrivalHistory) -> None:
        """Read until nothing is wanted, and leave Prometheus to others for half of the time."""
        while True:
            with self._lock:
                if not self._wanted:
                    self._is_reading = False
                    return
                key, ref = next(iter(self._wanted.items()))
            began = time.monotonic()
            self._read(key, ref, history)
            time.sleep(time.monotonic() - began)

    def _read(self, key: Key, ref: TargetRef, history: ArrivalHistory) -> None:
        try:
            rates = history.arrivals(ref, self._clock.now(), SPAN, int(forecast.SLOT))
            profile, rest = forecast.learnt(NOTHING, rates), _Rest(-inf)
            if profile.week:
                LOG.info("%s: the forecast begins with what Prometheus has recorded", key.policy)
            else:
                rest = _Rest(self._clock.steady() + LONGEST_REST)
        except Exception as error:
            profile, rest = None, self._failed(key, error)
        with self._lock:
            self._wanted.pop(key, None)
            self._rests[key] = rest
            if profile is not None:
                self._found[key] = profile

    def _failed(self, key: Key, error: Exception) -> _Rest:
        """Return for how long to rest, and log the first failure of several."""
        with self._lock:
            failures = self._rests.get(key, _Rest(-inf)).failures
        seconds = min(LONGEST_REST, FIRST_REST * 2.0**failures)
        if not failures:
            LOG.warning(
                "%s: cannot read the arrivals of the last 14 days, so the forecast is learnt from"
                " what comes; the next attempt is in %s: %s",
                key.policy,
                duration_text(seconds),
                error if isinstance(error, AutoscalerError) else repr(error),
            )
        return _Rest(self._clock.steady() + seconds, failures + 1)
