"""One pass over all policies: observe, decide, act, record.

State goes in and comes out as values; a change that fails is not remembered, so a pass that fails
in the middle changes nothing, and one policy's failure leaves the others alone. Where several
daemons run, only the one that leads in a namespace looks at its policies, and each write is
confirmed by that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from autoscaler.core.decide import decide, record_removal, record_scaling
from autoscaler.core.deletion_order import is_active
from autoscaler.core.lease import LONGEST_WRITE
from autoscaler.core.tidying import released
from autoscaler.core.vacancy import is_leaving
from autoscaler.errors import (
    AutoscalerError,
    ClusterError,
    ConflictError,
    LeaseError,
    RefusedError,
    TargetNotFoundError,
)
from autoscaler.leadership import NoLeadership
from autoscaler.memory import Key, Memory
from autoscaler.model import Decision, Observation, PodNote, PodState, State, TargetRef
from autoscaler.observe import observation, queries_of, signals_of
from autoscaler.policy import Policy
from autoscaler.ports import (
    Clock,
    Cluster,
    Leadership,
    MetricsSource,
    PolicySet,
    PolicySource,
    Sidecars,
    Standing,
    TargetState,
)

# Patches run side by side, so that one slow answer does not hold the others.
PARALLEL_CHANGES = 8
# A change without an answer may still take effect for so long, in seconds.
UNSURE_FOR = LONGEST_WRITE + 2.0
# How often one pass observes and decides again when the target changed under it (HTTP 409).
CONFLICT_RETRIES = 2


class ClockStep(NamedTuple):
    """The wall clock was set. at: what it showed until then. seconds: by how much."""

    at: float
    seconds: float


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
    """One pass: its outcomes in the policies' order, and the state of the policy files.

    standings: whether this daemon leads, for each namespace where that matters.
    """

    at: float
    outcomes: tuple[Outcome, ...]
    policies: PolicySet
    standings: Mapping[str, Standing] = field(default_factory=dict)


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
        leadership: Leadership | None = None,
        memory: Memory | None = None,
        dry_run: bool = False,
    ) -> None:
        self._policies = policies
        self._metrics = metrics
        self._cluster = cluster
        self._sidecars = sidecars
        self._clock = clock
        self._recorders = recorders
        self._dry_run = dry_run
        self._leadership = leadership or NoLeadership()
        self._memory = memory or Memory(clock)
        self._evaluated: dict[str, float] = {}
        self._steps: list[ClockStep] = []
        self._unsure: dict[TargetRef, float] = {}
        self._touched: set[TargetRef] = set()

    def run_pass(self) -> PassResult:
        """Observe every due policy's target, decide, act, record. Raises nothing an adapter may."""
        self._follow_clock(self._clock.stepped())
        policies = self._policies.load()
        in_force = {policy.target.ref for policy in policies.policies}
        standings = self._leadership.seek({ref.namespace for ref in in_force | self._touched})
        now = self._clock.now()
        due = [p for p in policies.policies if self._is_due(p, standings, now)]
        readings = self._metrics.read(
            {pair for policy in due for pair in signals_of(policy).items()},
            {query for policy in due for query in queries_of(policy)},
            now,
        )
        # Last, for a shrink rests on it: what the sidecars say must not grow old.
        targets = self._observe({policy.target.ref for policy in due}, standings)

        def pursue(policy: Policy) -> Outcome:
            def observe(target: TargetState) -> Observation:
                return observation(policy, target, readings)

            try:
                return self._pursue(policy, targets[policy.target.ref], observe, now)
            except Exception as error:  # a defect in one policy must not stop the others
                return Outcome(policy, problem=f"internal error, nothing was changed: {error!r}")

        outcomes = _side_by_side(pursue, due)
        self._forget_all_but({policy.name for policy in policies.policies})
        self._release(in_force, standings, now)
        result = PassResult(now, outcomes, policies, standings)
        for recorder in self._recorders:
            recorder.record(result)
        return result

    def _observe(
        self, refs: set[TargetRef], standings: Mapping[str, Standing] = {}
    ) -> dict[TargetRef, TargetState | AutoscalerError]:
        """The targets, with the own word of each pod that is to go; none where we do not lead."""
        barred = {
            ref: LeaseError(standing.detail)
            for ref in refs
            if (standing := standings.get(ref.namespace)) and not standing.leads
        }
        found = {**self._cluster.observe(refs - barred.keys()), **barred}
        targets = {
            ref: replace(each, pods=tuple(map(self._by_our_clock, each.pods)))
            for ref, each in found.items()
            if isinstance(each, TargetState)
        }
        found |= targets
        there = [pod for each in targets.values() for pod in each.pods if not pod.deleting]
        leaving = [pod for pod in there if is_leaving(pod)]
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
        if now < self._unsure.get(policy.target.ref, 0.0):
            return replace(outcome, problem="the last change was not answered and may still come")
        for _ in range(1 + CONFLICT_RETRIES):
            if isinstance(target, AutoscalerError):
                return replace(outcome, problem=str(target))
            outcome = self._decide(policy, target, observe(target), now)
            try:
                return self._act(outcome, target, now)
            except LeaseError as error:  # another leads now: not even an Event
                return Outcome(policy, problem=str(error))
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
        key = _key(policy, target)
        decision, state = decide(policy, observed, self._memory.of(key), now)
        self._memory.keep(key, state)
        return Outcome(policy, target, observed, decision)

    def _act(self, outcome: Outcome, target: TargetState, now: float) -> Outcome:
        """Carry the decision out: the pods' notes, then the scale. Raises AutoscalerError.

        A change is written down before it is made. A daemon that ends between the two leaves one
        that rests after a change which never came, and not one that forgets a change.
        """
        decision, namespace = outcome.decision, target.ref.namespace
        if decision is None or self._dry_run:
            return outcome
        for pod, note in decision.drain.notes if decision.drain else ():
            self._leadership.confirm(namespace)
            self._note(target, pod, note)
        if decision.desired == decision.current:
            return outcome
        with self._memory.change(_key(outcome.policy, target), lambda s: _after(s, outcome, now)):
            self._leadership.commit(namespace)
            self._scale(target, decision.desired)
        return replace(outcome, changed=True)

    def _note(self, target: TargetState, pod: PodState, note: PodNote) -> None:
        """A conflict ends the pass: another look would take marks of this one for known by all."""
        try:
            self._cluster.note(target, pod, note)
        except ConflictError as error:
            raise ClusterError(str(error)) from None

    def _scale(self, target: TargetState, replicas: int) -> None:
        """Without an answer it may come late, and then no pod must have new users meanwhile."""
        try:
            self._cluster.scale(target, replicas)
        except RefusedError:
            raise
        except ClusterError:
            self._unsure[target.ref] = self._clock.now() + UNSURE_FOR
            raise

    def _release(
        self, in_force: set[TargetRef], standings: Mapping[str, Standing], now: float
    ) -> None:
        """Pods whose policy is gone carry nothing of ours any more; what fails is tried again."""
        gone = set() if self._dry_run else self._touched - in_force
        others = {ref for ref in gone if (s := standings.get(ref.namespace)) and s.stands_by}
        self._touched |= in_force  # those of others too: they may end before they have done it
        for ref, target in self._observe(gone - others, standings).items():
            with suppress(AutoscalerError):
                if self._took_back(target, now):
                    self._touched.discard(ref)

    def _took_back(self, target: TargetState | AutoscalerError, now: float) -> bool:
        """Whether that was all: pods that a ReplicaSet is yet to remove may stay after all."""
        if isinstance(target, TargetNotFoundError):
            return True
        if isinstance(target, AutoscalerError):
            raise target
        for pod, note in released(target.pods, target.replicas, now):
            self._leadership.confirm(target.ref.namespace)
            self._cluster.note(target, pod, note)
        return sum(map(is_active, target.pods)) <= target.replicas

    def _is_due(self, policy: Policy, standings: Mapping[str, Standing], now: float) -> bool:
        """Whether the policy's interval has passed; a quarter second early counts as due.

        Never while another daemon looks after it.
        """
        standing = standings.get(policy.target.namespace)
        if standing is not None and standing.stands_by:
            return False
        last = self._evaluated.get(policy.name)
        if last is not None and now - last < policy.interval - 0.25:
            return False
        self._evaluated[policy.name] = now
        return True

    def _follow_clock(self, step: float) -> None:
        """After the wall clock was set, move all memory along with it."""
        if step == 0:
            return
        self._memory.shift(step)
        self._steps.append(ClockStep(self._clock.now() - step, step))
        self._evaluated = {name: at + step for name, at in self._evaluated.items()}

    def _by_our_clock(self, pod: PodState) -> PodState:
        """Cordoned before the clock was set forward, it was not so for longer by that."""
        if pod.cordon is None or not self._steps:
            return pod
        at = pod.cordon.at
        for step in self._steps:
            at += step.seconds if step.seconds > 0 and at <= step.at else 0.0
        return replace(pod, cordon=pod.cordon._replace(at=at))

    def _forget_all_but(self, names: set[str]) -> None:
        self._memory.forget_all_but(names)
        self._evaluated = {name: at for name, at in self._evaluated.items() if name in names}


def _key(policy: Policy, target: TargetState) -> Key:
    return Key(target.ref.namespace, policy.name, target.uid)


def _after(state: State, outcome: Outcome, now: float) -> State:
    """What is remembered of a change that takes effect."""
    decision, observed = outcome.decision, outcome.observed
    if decision is None or observed is None:
        return state
    state = record_scaling(state, outcome.policy, decision.current, decision.desired, now)
    return record_removal(state, decision, observed, now)


def _side_by_side(
    pursue: Callable[[Policy], Outcome], policies: Sequence[Policy]
) -> tuple[Outcome, ...]:
    if len(policies) < 2:
        return tuple(map(pursue, policies))
    with ThreadPoolExecutor(min(PARALLEL_CHANGES, len(policies))) as pool:
        return tuple(pool.map(pursue, policies))
