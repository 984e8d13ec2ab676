"""Gives each policy with `seats: auto` the number of seats that its pods have shown they can hold.

What pods had to do in the last week is read from Prometheus beside the passes, again and again. The
seats in use are remembered with the state of the policy, and so survive a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import NamedTuple

from autoscaler.control.actor import key_of
from autoscaler.control.histories import Histories
from autoscaler.control.observation import taken_seats
from autoscaler.control.pass_result import Outcome, SeatsInUse
from autoscaler.control.state_store import Key, StateStore
from autoscaler.core import seating
from autoscaler.core.now import Now
from autoscaler.model import SeatEstimate, State, TargetRef
from autoscaler.policy import Policy
from autoscaler.ports import Clock, LoadHistory, Readings, TargetState

# Seconds that are looked back, and between two loads of a pod.
SPAN, STEP = 604_800.0, 300
# Seconds between two readings: an hour, or so many times what one took.
REST, OF_READING = 3_600.0, 200.0
_WHAT = "the loads of the last 7 days, so the seats stay as they are"


class _Effective(NamedTuple):
    """A policy as it is written, the seats in use, and the policy that has them.

    It is the same object as long as nothing changes, by which an outcome is known to stand.
    """

    written: Policy
    seats: int
    policy: Policy


class _Read(NamedTuple):
    """What was estimated of the pods of these ReplicaSets, which run one image; none: unknown."""

    sets: frozenset[str]
    estimate: SeatEstimate

    def is_of(self, sets: frozenset[str]) -> bool:
        """Return whether these ReplicaSets run the same image, as far as it is known."""
        return not (self.sets and sets) or not self.sets.isdisjoint(sets)


class LearnedSeats:
    """The seats of all policies that learn theirs. history: None: there is none to read."""

    def __init__(self, history: LoadHistory | None, store: StateStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._same_image: dict[Key, frozenset[str]] = {}
        self._estimates: dict[Key, _Read] = {}
        self._effective: dict[Key, _Effective] = {}
        self._in_use: dict[str, SeatsInUse] = {}
        self._histories: Histories[_Read] | None = None
        if history is not None:
            read = partial(self._read, history)
            self._histories = Histories("learned-seats", _WHAT, read, store, clock)

    def effective(
        self, policies: Iterable[Policy], targets: Mapping[TargetRef, object], readings: Readings
    ) -> list[Policy]:
        """Return the policies with the seats in use, and have read what they are estimated by.

        No write of any of them may be under way.
        """
        self._forget()
        return [self._with_seats(each, targets[each.target.ref], readings) for each in policies]

    def told(self, outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
        """Return the outcomes with the seats in use, for those of policies that learn them.

        A change is told once, with the next outcome of its policy, which a slow write delays.
        """
        found = []
        for each in outcomes:
            seats = self._in_use.get(each.policy.name)
            if seats is not None:
                self._in_use[each.policy.name] = seats._replace(before=None)
            found.append(replace(each, seats=seats) if seats else each)
        return tuple(found)

    def _with_seats(self, policy: Policy, target: object, readings: Readings) -> Policy:
        learn = policy.learn
        if learn is None or not isinstance(target, TargetState):
            self._in_use.pop(policy.name, None)
            return policy
        key = key_of(policy, target)
        estimate = self._estimate(key, target)
        state = self._store.of(key) or State()
        seated = _seated(target, readings)
        seats = seating.follow(state.seats, learn, estimate, seated, Now(self._clock.now()))
        last = self._in_use.get(policy.name)
        before = last.before if last is not None else None  # of a change that is not told yet
        if seats != state.seats:
            self._store.keep(key, state._replace(seats=seats))
            before = before or (state.seats and state.seats.number)
        self._in_use[policy.name] = SeatsInUse(seats.number, before, estimate, policy)
        known = self._effective.get(key)
        if known is None or known.written is not policy or known.seats != seats.number:
            known = _Effective(policy, seats.number, policy.with_seats(seats.number))
            self._effective[key] = known
        return known.policy

    def _estimate(self, key: Key, target: TargetState) -> SeatEstimate | None:
        """Return the last estimate of a target, which is made anew from time to time.

        One of another image than the target has now is none.
        """
        self._same_image[key] = target.same_image
        if self._histories is not None:
            found = self._histories.take(key)
            if found is not None:
                self._estimates[key] = found
            self._histories.want(key, target.ref)
        last = self._estimates.get(key)
        return last.estimate if last is not None and last.is_of(target.same_image) else None

    def _read(self, history: LoadHistory, key: Key, ref: TargetRef) -> tuple[_Read, float]:
        """Return what a target's history says, and when to read it again."""
        began = monotonic()
        loads = history.loads(ref, self._clock.now(), SPAN, STEP)
        sets = self._same_image.get(key, frozenset())
        found = _Read(sets, seating.estimate(seating.of_image(loads, sets), STEP))
        return found, max(REST, OF_READING * (monotonic() - began))

    def _forget(self) -> None:
        """Drop what belongs to policies that are gone, or that another daemon evaluates."""
        if self._histories is not None:
            self._histories.forget()
        for each in (self._same_image, self._estimates, self._effective):
            for key in [key for key in each if self._store.of(key) is None]:
                del each[key]
        names = {key.policy for key in self._effective}
        self._in_use = {name: each for name, each in self._in_use.items() if name in names}


def _seated(target: TargetState, readings: Readings) -> int | None:
    """Return the seats taken on the fullest pod; None while those of an active one are unknown."""
    taken = taken_seats(target, readings)
    active = [each for pod, each in zip(target.pods, taken, strict=True) if pod.is_active]
    known = [sample.value for sample in active if sample is not None]
    return max(known, default=0) if len(known) == len(active) else None
