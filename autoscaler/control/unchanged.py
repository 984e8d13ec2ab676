"""Policies of which nothing has changed: their last outcome stands, so a pass costs what did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from autoscaler.control.actor import key_of
from autoscaler.control.observation import Evidence, evidence_of
from autoscaler.control.pass_result import Outcome
from autoscaler.control.reachability import Silence
from autoscaler.control.state_store import StateStore
from autoscaler.core.now import Now
from autoscaler.core.staleness import is_cache_stale
from autoscaler.core.standing import is_at_rest, stands
from autoscaler.errors import AutoscalerError
from autoscaler.model import Decision, State, TargetRef
from autoscaler.policy import Policy
from autoscaler.ports import Clock, Readings, TargetState

Found = Mapping[TargetRef, TargetState | AutoscalerError]


class Standing(NamedTuple):
    """An outcome at rest. evidence: what it was made of. state: as the last pass remembered it."""

    outcome: Outcome
    decision: Decision
    evidence: Evidence
    state: State


class Unchanged:
    """Remembers the outcomes at rest, and says which of them another decision would repeat.

    What is on its way, what could end a session, and what rests on a stale cache is never repeated.
    unreachable: the sidecars of a target that cannot be reached.
    """

    def __init__(
        self,
        store: StateStore,
        clock: Clock,
        unreachable: Callable[[TargetRef], tuple[Silence, ...]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._unreachable = unreachable
        self._standing: dict[str, Standing] = {}

    def outcomes(self, due: Iterable[Policy], targets: Found, readings: Readings) -> list[Outcome]:
        """Return the outcomes that stand, and remember that these passes were made too."""
        now = self._clock.now()
        found = (self._outcome(policy, targets[policy.target.ref], readings, now) for policy in due)
        return [outcome for outcome in found if outcome is not None]

    def keep(self, outcome: Outcome, readings: Readings) -> None:
        """Follow the outcome of a policy that was decided anew. Threads may call it."""
        self._standing.pop(outcome.policy.name, None)
        standing = self._standing_by(outcome, readings)
        if standing is not None:
            self._standing[outcome.policy.name] = standing

    def forget_all_but(self, policies: set[str]) -> None:
        """Drop policies that were removed."""
        now = self._standing.copy()  # a write that takes long may end meanwhile
        self._standing = {name: standing for name, standing in now.items() if name in policies}

    def _outcome(
        self, policy: Policy, target: TargetState | AutoscalerError, readings: Readings, now: float
    ) -> Outcome | None:
        last = self._standing.get(policy.name)
        if last is None or isinstance(target, AutoscalerError):
            return None
        key = key_of(policy, target)
        if (
            self._store.of(key) is not last.state
            or not stands(policy, last.decision, last.state, now)
            or is_cache_stale(target.confirmed_at, Now(now))
            or self._unreachable(target.ref) != last.outcome.unreachable
            or evidence_of(policy, target, readings) != last.evidence
        ):
            return None
        state = last.state.again(now)
        self._store.keep(key, state)
        self._standing[policy.name] = last._replace(state=state)
        return last.outcome

    def _standing_by(self, outcome: Outcome, readings: Readings) -> Standing | None:
        target, observed, decision = outcome.target, outcome.observed, outcome.decision
        if target is None or observed is None or decision is None or outcome.problem:
            return None
        if outcome.decided is None or decision is not outcome.decided.decision:
            return None  # what was decided was not carried out, and is tried again
        if outcome.changed or outcome.marked:  # before a conflict, and told only once
            return None
        state = self._store.of(key_of(outcome.policy, target))
        if state is None or not is_at_rest(decision, observed, state):
            return None
        return Standing(outcome, decision, evidence_of(outcome.policy, target, readings), state)
