"""Teaches the forecasts of a new leader, or of a new policy, what Prometheus has recorded.

No Lease has room for them, and Prometheus has kept all that they are made of. A pass takes over
what has been read beside it. Without it, or until then, forecasts are learnt from what comes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial

from autoscaler.control.actor import key_of
from autoscaler.control.histories import LONGEST_REST, Histories
from autoscaler.control.state_store import Key, StateStore
from autoscaler.core import forecast
from autoscaler.model import Arrivals, Profile, TargetRef
from autoscaler.policy import Policy
from autoscaler.ports import ArrivalHistory, Clock, TargetState

LOG = logging.getLogger("autoscaler")
# Two weeks, in seconds: a weekday of the week before may have been a holiday.
SPAN = 1_209_600.0
NOTHING = Profile("", "", Arrivals(0.0, 0.0, 0.0, 0.0))
_WHAT = "the arrivals of the last 14 days, so the forecast is learnt from what comes"


class Learning:
    """The histories of forecasts. history: None: there is none to read."""

    def __init__(self, history: ArrivalHistory | None, store: StateStore, clock: Clock) -> None:
        self._store = store
        self._histories: Histories[Profile] | None = None
        if history is not None:
            read = partial(_read, history, clock)
            self._histories = Histories("learning", _WHAT, read, store, clock)
        self._learnt = set[Key]()  # since the policy began to forecast

    def follow(self, policies: Iterable[Policy], targets: Mapping[TargetRef, object]) -> None:
        """Take over what has been read for these policies, and have read what is missing.

        No write of any of them may be under way.
        """
        histories = self._histories
        if histories is None:
            return
        histories.forget()
        self._learnt = {key for key in self._learnt if self._store.of(key) is not None}
        for policy in policies:
            target = targets[policy.target.ref]
            if isinstance(target, TargetState):
                key = key_of(policy, target)
                if policy.forecasts:
                    self._follow(key, target.ref, histories)
                else:
                    self._learnt.discard(key)

    def _follow(self, key: Key, ref: TargetRef, histories: Histories[Profile]) -> None:
        state = self._store.of(key)
        traffic = state and state.traffic
        if state is None or traffic is None or traffic.profile is None:
            return
        found = histories.take(key)
        if found is not None:
            self._learnt.add(key)
            if found.week:
                profile = found._replace(current=traffic.profile.current)
                self._store.keep(key, state._replace(traffic=traffic._replace(profile=profile)))
        elif not traffic.profile.week or key not in self._learnt:
            histories.want(key, ref)


def _read(history: ArrivalHistory, clock: Clock, key: Key, ref: TargetRef) -> tuple[Profile, float]:
    """Return what a target's history says; one without a past rests before the next attempt."""
    rates = history.arrivals(ref, clock.now(), SPAN, int(forecast.SLOT))
    profile = forecast.learnt(NOTHING, rates)
    if not profile.week:
        return profile, LONGEST_REST
    LOG.info("%s: the forecast begins with what Prometheus has recorded", key.policy)
    return profile, 0.0
