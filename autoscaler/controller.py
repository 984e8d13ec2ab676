"""One pass over all policies: observe, decide, act, record.

State goes in and comes out as values; a change is remembered only after it was made, so a pass
that fails in the middle changes nothing, and one policy's failure leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from autoscaler.core.decide import decide, record_removal, record_scaling
from autoscaler.core.drain import is_leaving
from autoscaler.errors import AutoscalerError, ConflictError
from autoscaler.model import Decision, Observation, State, TargetRef
from autoscaler.observe import observation, queries_of, signals_of
from autoscaler.policy import Policy
from autoscaler.ports import (
    Clock,
    Cluster,
    MetricsSource,
    PolicySet,
    PolicySource,
    Sidecars,
    TargetState,
)

# Patches run side by side, so that one slow answer does not hold the others.
PARALLEL_CHANGES = 8
# How often one pass observes and decides again when the target changed under it (HTTP 409).
CONFLICT_RETRIES = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pass did about one policy.

    decision None: the target could not be read, `problem` says why. changed: the scale was patched.
    """

    policy: Policy
    target: TargetState | None = None
    observed: Observation | None = None
    decision: Decision | None = None
    changed: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class PassResult:
    """One pass: its outcomes in the policies' order, and the state of the policy files."""

    at: float
    outcomes: tuple[Outcome, ...]
    policies: PolicySet


class Recorder(Protocol):
    """Where a pass is told: logs, metrics, Events, the demo's table."""

    def record(self, result: PassResult) -> None:
        """Take note of one finished pass."""


class Controller:
    """Drives every policy; call `run_pass` as often as the shortest interval asks."""

    def __init__(
        self,
        policies: PolicySource,
        metrics: MetricsSource,
        cluster: Cluster,
        sidecars: Sidecars,
        clock: Clock,
        recorders: Sequence[Recorder] = (),
        *,
        dry_run: bool = False,
    ) -> None:
        self._policies = policies
        self._metrics = metrics
        self._cluster = cluster
        self._sidecars = sidecars
        self._clock = clock
        self._recorders = recorders
        self._dry_run = dry_run
        self._states: dict[tuple[str, str], State] = {}
        self._evaluated: dict[str, float] = {}

    def run_pass(self) -> PassResult:
        """Observe every due policy's target, decide, act, record. Raises nothing an adapter may."""
        self._follow_clock(self._clock.stepped())
        policies = self._policies.load()
        now = self._clock.now()
        due = [policy for policy in policies.policies if self._is_due(policy, now)]
        targets = self._observe({policy.target.ref for policy in due})
        readings = self._metrics.read(
            {pair for policy in due for pair in signals_of(policy).items()},
            {query for policy in due for query in queries_of(policy)},
            now,
        )

        def pursue(policy: Policy) -> Outcome:
            def observe(target: TargetState) -> Observation:
                return observation(policy, target, readings)

            try:
                return self._pursue(policy, targets[policy.target.ref], observe, now)
            except Exception as error:  # a defect in one policy must not stop the others
                return Outcome(policy, problem=f"internal error, nothing was changed: {error!r}")

        outcomes = _side_by_side(pursue, due)
        self._forget_all_but(policies.policies)
        result = PassResult(now, outcomes, policies)
        for recorder in self._recorders:
            recorder.record(result)
        return result

    def _observe(self, refs: set[TargetRef]) -> dict[TargetRef, TargetState | AutoscalerError]:
        """The targets, with the own word of each pod that is to go."""
        found = dict(self._cluster.observe(refs))
        targets = {ref: each for ref, each in found.items() if isinstance(each, TargetState)}
        leaving = [pod for target in targets.values() for pod in target.pods if is_leaving(pod)]
        said = self._sidecars.occupancy(leaving) if leaving else {}
        for ref, target in targets.items():
            pods = tuple(replace(pod, occupancy=said.get(pod.uid)) for pod in target.pods)
            found[ref] = replace(target, pods=pods) if said else target
        return found

    def _pursue(
        self,
        policy: Policy,
        target: TargetState | AutoscalerError,
        observe: Callable[[TargetState], Observation],
        now: float,
    ) -> Outcome:
        """Decide and act for one policy; a target that changed meanwhile is looked at again."""
        outcome = Outcome(policy)
        for _ in range(1 + CONFLICT_RETRIES):
            if isinstance(target, AutoscalerError):
                return replace(outcome, problem=str(target))
            outcome = self._decide(policy, target, observe(target), now)
            try:
                return self._act(outcome, target, now)
            except ConflictError as error:
                outcome = replace(outcome, problem=str(error))
                target = self._observe({policy.target.ref})[policy.target.ref]
            except AutoscalerError as error:
                return replace(outcome, problem=str(error))
        return outcome

    def _decide(
        self, policy: Policy, target: TargetState, observed: Observation, now: float
    ) -> Outcome:
        """A Deployment that was deleted and made again has another uid and starts afresh."""
        key = (policy.name, target.uid)
        decision, self._states[key] = decide(policy, observed, self._states.get(key), now)
        return Outcome(policy, target, observed, decision)

    def _act(self, outcome: Outcome, target: TargetState, now: float) -> Outcome:
        """Carry the decision out: the pods' notes, then the scale. Raises AutoscalerError.

        Only what took effect is remembered.
        """
        decision = outcome.decision
        if decision is None or self._dry_run:
            return outcome
        for pod, note in decision.drain.notes if decision.drain else ():
            self._cluster.note(target, pod, note)
        if decision.desired == decision.current:
            return outcome
        self._cluster.scale(target, decision.desired)
        self._remember(outcome, decision, target, now)
        return replace(outcome, changed=True)

    def _remember(
        self, outcome: Outcome, decision: Decision, target: TargetState, now: float
    ) -> None:
        key, policy = (outcome.policy.name, target.uid), outcome.policy
        state = record_scaling(self._states[key], policy, decision.current, decision.desired, now)
        if outcome.observed is not None:
            state = record_removal(state, decision, outcome.observed, now)
        self._states[key] = state

    def _is_due(self, policy: Policy, now: float) -> bool:
        """Whether the policy's interval has passed; a quarter second early counts as due."""
        last = self._evaluated.get(policy.name)
        if last is not None and now - last < policy.interval - 0.25:
            return False
        self._evaluated[policy.name] = now
        return True

    def _follow_clock(self, step: float) -> None:
        """After the wall clock was set, move all memory along with it."""
        if step == 0:
            return
        self._states = {key: state.shifted(step) for key, state in self._states.items()}
        self._evaluated = {name: at + step for name, at in self._evaluated.items()}

    def _forget_all_but(self, policies: Sequence[Policy]) -> None:
        names = {policy.name for policy in policies}
        self._states = {key: state for key, state in self._states.items() if key[0] in names}
        self._evaluated = {name: at for name, at in self._evaluated.items() if name in names}


def _side_by_side(
    pursue: Callable[[Policy], Outcome], policies: Sequence[Policy]
) -> tuple[Outcome, ...]:
    if len(policies) < 2:
        return tuple(map(pursue, policies))
    with ThreadPoolExecutor(min(PARALLEL_CHANGES, len(policies))) as pool:
        return tuple(pool.map(pursue, policies))
