"""One pass over all policies: observe, decide, act, record.

State goes in and comes out as values, and a change that fails is not remembered. What is wrong with
one policy, target, sidecar or recorder stays with that one: all others are decided and carried out
in the same pass. Where several daemons run, only the one that leads in a namespace looks at its
policies, and each write is confirmed by that.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial

from autoscaler.control.actor import Actor, Written, key_of
from autoscaler.control.changes import PATIENCE, Changes
from autoscaler.control.due_policies import DuePolicies, labels_by_namespace
from autoscaler.control.leadership import NoLeadership
from autoscaler.control.learned_seats import LearnedSeats
from autoscaler.control.learning import Learning
from autoscaler.control.observation import build_observation, queries_in_turn, read_signals
from autoscaler.control.observer import Found, Observer
from autoscaler.control.pass_result import (
    FAILED_RESCALE,
    Decided,
    Outcome,
    PassResult,
    Recorder,
    Released,
    stopped,
    unread,
)
from autoscaler.control.sidecar_rounds import Rounds, Watched
from autoscaler.control.state_store import StateStore
from autoscaler.control.unchanged import Unchanged
from autoscaler.control.write_pace import WritePace
from autoscaler.core.decide import decide
from autoscaler.core.drain.certainty import needs_fresh_read
from autoscaler.errors import AutoscalerError, ConflictError
from autoscaler.model import Observation, State, TargetRef
from autoscaler.policy import Policy
from autoscaler.ports import (
    ArrivalHistory,
    Clock,
    Cluster,
    Leadership,
    LeadershipStatus,
    LoadHistory,
    MetricsSource,
    PolicySet,
    PolicySource,
    Readings,
    Sidecars,
    TargetState,
)

LOG = logging.getLogger("autoscaler")
# Targets whose sidecars are waited for at the same time.
PARALLEL_ASKS = 32
# Writes of the API per second, for pods and scales; Leases and Events are not counted.
WRITES_PER_SECOND = 50.0
# How often one pass observes and decides again when the target changed under it (HTTP 409).
CONFLICT_RETRIES = 2
UNCONFIRMED = (
    "waiting up to 10s: the API server did not confirm the last scale request, "
    "which may still take effect"
)


class Controller:
    """Drives every policy; call `run_pass` as often as the shortest interval asks.

    every_pass: whether to decide also in passes in which the decision is known to be the same, as a
    journal has each of them. It takes longer and changes nothing. history: what forecasts begin
    with; None: with nothing. loads: what seats are learned from; None: they stay the first guess.
    """

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
        store: StateStore | None = None,
        dry_run: bool = False,
        every_pass: bool = False,
        writes_per_second: float = WRITES_PER_SECOND,
        patience: float | None = PATIENCE,
        history: ArrivalHistory | None = None,
        loads: LoadHistory | None = None,
    ) -> None:
        self._policies = policies
        self._clock = clock
        self._recorders = recorders
        self._dry_run = dry_run
        self._every_pass = every_pass
        self._leadership = leadership or NoLeadership()
        self._store = store or StateStore(clock)
        self._observer = Observer(cluster, metrics, sidecars, clock)
        self._rounds = Rounds(sidecars)
        self._unchanged = Unchanged(self._store, clock, self._rounds.unreachable)
        self._learning = Learning(history, self._store, clock)
        self._seats = LearnedSeats(loads, self._store, clock)
        self._farewells: dict[str, int] = {}
        self._pace = WritePace(writes_per_second, clock.steady)
        self._changes = Changes(patience)
        writing = (self._leadership, self._store, clock, self._pace)
        self._actor = Actor(cluster, self._observer.answered, *writing)
        self._loaded = PolicySet()
        self._due = DuePolicies()
        self._touched: set[TargetRef] = set()
        self._slow: set[TargetRef] = set()
        self._broken: set[str] = set()

    def run_pass(self) -> PassResult:
        """Observe every due policy's target, decide, act, record. Raises nothing an adapter may."""
        self._follow_clock()
        policies = self._load()
        in_force = {policy.target.ref for policy in policies.policies}
        wanted = labels_by_namespace(policies, in_force | self._touched)
        busy = self._changes.namespaces()
        statuses = self._leadership.seek(wanted, self._follow_clock, busy)
        now = self._clock.now()
        self._farewells |= self._rounds.collect(now)
        due = self._due.due(policies.policies, statuses, now)
        due = [policy for policy in due if not self._changes.are_under_way(policy.target.ref)]
        readings = self._observer.readings(
            {pair for policy in due for pair in read_signals(policy).items()},
            queries_in_turn(due),
            now,
        )
        # Last, for a scale-down rests on it: what the pods and sidecars say must not grow old.
        targets = self._observer.targets({policy.target.ref for policy in due}, statuses)
        self._learning.follow(due, targets)
        due = self._seats.effective(due, targets, readings)
        outcomes = self._seats.told(self._outcomes(due, targets, readings, now))
        self._rounds.start(map(self._watched, outcomes), now)
        self._forget_all_but(policies)
        released = self._release(in_force, statuses, now)
        lacking = self._due.unevaluated(policies.policies, statuses, now)
        result = PassResult(now, outcomes, policies, statuses, released, lacking)
        self._record(result)
        return result

    def _load(self) -> PolicySet:
        """Return the active policies; after a defect the last ones, so that scaling goes on."""
        try:
            self._loaded = self._policies.load()
        except Exception:
            if not self._loaded.policies:
                raise
            LOG.exception("the policies could not be loaded; the last ones stay active")
        return self._loaded

    def _record(self, result: PassResult) -> None:
        for recorder in self._recorders:
            try:
                recorder.record(result)
            except Exception:
                name = type(recorder).__name__
                LOG.exception("internal error (a bug, please report it): %s failed", name)

    def _outcomes(
        self, due: Sequence[Policy], targets: Found, readings: Readings, now: float
    ) -> tuple[Outcome, ...]:
        """Return what becomes of each policy: it is decided anew if anything of it has changed."""
        stand = () if self._every_pass else self._unchanged.outcomes(due, targets, readings)
        same = {outcome.policy.name for outcome in stand}
        self._begin([policy for policy in due if policy.name not in same], targets, readings, now)
        ended = self._changes.ended(self._loaded.policies)
        order = {policy.target.ref: at for at, policy in enumerate(self._loaded.policies)}
        return tuple(sorted((*stand, *ended), key=lambda each: order[each.policy.target.ref]))

    def _begin(
        self, policies: Sequence[Policy], targets: Found, readings: Readings, now: float
    ) -> None:
        """Begin to carry out each policy as soon as its own target's sidecars have answered.

        Those that answered late in the last pass come last, and so take nobody's place.
        """

        def reconcile(policy: Policy, target: TargetState | AutoscalerError) -> None:
            work = partial(self._reconcile_policy, policy, target, readings)
            self._changes.begin(policy, work)

        asking = [p for p in policies if self._observer.must_ask(targets[p.target.ref])]
        asking.sort(key=lambda policy: policy.target.ref in self._slow)
        asked = {policy.name for policy in asking}
        with ThreadPoolExecutor(PARALLEL_ASKS) as asks:
            answers = {asks.submit(self._ask, targets[p.target.ref], now): p for p in asking}
            for policy in self._changes.in_turn(self._pace.in_turn(policies)):
                if policy.name not in asked:
                    reconcile(policy, targets[policy.target.ref])
            for answer in as_completed(answers):
                reconcile(answers[answer], answer.result())

    def settle(self) -> None:
        """Wait until no write is under way; no pass may follow."""
        self._changes.settle()

    def _ask(
        self, target: TargetState | AutoscalerError, now: float
    ) -> TargetState | AutoscalerError:
        if isinstance(target, AutoscalerError):
            return target
        answered, said = self._observer.with_answers(target)
        self._rounds.reach.hear(target.ref, target.pods, said, now)
        if any(pod.silence for pod in answered.pods):
            self._slow.add(target.ref)
        else:
            self._slow.discard(target.ref)
        return answered

    def _watched(self, outcome: Outcome) -> Watched:
        """Which of a target's sidecars are asked until its next pass."""
        policy, target = outcome.policy, outcome.target
        if target is None:
            return Watched(policy.target.ref)
        state = self._store.of(key_of(policy, target)) or State()
        departing = target.pods if state.departing else ()
        removed = [pod for pod in departing if pod.uid in state.departing and pod.cut is None]
        return Watched(target.ref, removed, target.pods if policy.drain else ())

    def _reconcile_policy(
        self,
        policy: Policy,
        target: TargetState | AutoscalerError,
        readings: Readings,
    ) -> Outcome:
        """Decide and act for one policy. Raises nothing: a defect is the problem of this policy."""
        written = Written()
        try:
            outcome = self._reconcile(policy, target, readings, written)
            self._broken.discard(policy.name)
        except Exception as error:
            words = f"internal error (a bug, please report it) in policy {policy.name}: {error!r}"
            if policy.name not in self._broken:  # the traceback once, and not at every pass
                LOG.exception("%s", words, extra={"fields": {"policy": policy.name}})
            self._broken.add(policy.name)
            there = target if isinstance(target, TargetState) else None
            outcome = Outcome(policy, there, problem=words, failure="InternalError")
        silent = self._rounds.unreachable(policy.target.ref)
        marked = tuple(written.marked)
        outcome = replace(outcome, changed=written.changed, marked=marked, unreachable=silent)
        self._unchanged.keep(outcome, readings)
        return outcome

    def _reconcile(
        self,
        policy: Policy,
        target: TargetState | AutoscalerError,
        readings: Readings,
        written: Written,
    ) -> Outcome:
        """Decide and act; a target that changed meanwhile is looked at again.

        So is one from a cache before anything that could end a session.
        """
        outcome, attempts = Outcome(policy), 1 + CONFLICT_RETRIES
        if self._actor.is_unsure(policy.target.ref):
            return replace(outcome, problem=UNCONFIRMED)
        while attempts:
            if isinstance(target, AutoscalerError):
                return unread(policy, target)
            now = self._clock.now()  # what was seen may count from here, and not from the start
            observed = build_observation(policy, target, readings)
            decided = self._decide(policy, target, observed, now)
            if needs_fresh_read(decided.decision, decided.observed):
                target = self._observer.target(policy.target.ref)
                continue
            outcome = self._remember(policy, target, decided)
            try:
                if not self._dry_run:
                    self._actor.act(outcome, target, now, written)
            except ConflictError as error:
                attempts -= 1
                outcome = replace(outcome, problem=str(error), failure=FAILED_RESCALE)
                target = self._observer.target(policy.target.ref)
            except AutoscalerError as error:
                return stopped(outcome, error)
            else:
                return outcome
        return outcome

    def _decide(
        self, policy: Policy, target: TargetState, observed: Observation, now: float
    ) -> Decided:
        """A Deployment that was deleted and made again has another uid and starts afresh."""
        before = self._store.of(key_of(policy, target)) or State()
        told = {uid: self._farewells.get(uid) for uid in before.departing}
        told |= {pod.uid: pod.cut for pod in target.pods if pod.cut is not None}
        farewells = {uid: count for uid, count in told.items() if count is not None}
        observed = replace(observed, farewells=farewells)
        decision, after = decide(policy, observed, before, now)
        return Decided(now, observed, before, decision, after)

    def _remember(self, policy: Policy, target: TargetState, decided: Decided) -> Outcome:
        """Have later passes go on from a decision, which is the outcome of this one."""
        for uid in decided.before.departing:
            self._farewells.pop(uid, None)
        self._store.keep(key_of(policy, target), decided.after)
        return Outcome(policy, target, decided.observed, decided.decision, decided)

    def _release(
        self, in_force: set[TargetRef], statuses: Mapping[str, LeadershipStatus], now: float
    ) -> tuple[Released, ...]:
        """Pods whose policy is gone carry nothing of ours any more; what fails is tried again."""
        gone = set() if self._dry_run else self._touched - in_force
        others = {ref for ref in gone if (s := statuses.get(ref.namespace)) and s.is_standby}
        self._touched |= in_force  # those of others too: they may end before they have done it
        # What is on its way would come after the cleaning, and users must not come before it.
        unsure = {
            ref for ref in gone if self._actor.is_unsure(ref) or self._changes.are_under_way(ref)
        }
        done: list[Released] = []
        for ref, target in self._observer.targets(gone - others - unsure, statuses).items():
            try:
                if self._actor.clean_up_pods(target, now, done):
                    self._touched.discard(ref)
            except AutoscalerError:
                continue
            except Exception:
                LOG.exception("%s: internal error (a bug, please report it)", ref)
        return tuple(done)

    def _follow_clock(self) -> None:
        """After the wall clock was set, move all memory along with it."""
        step = self._clock.stepped()
        if step == 0:
            return
        self._store.shift(step)
        self._observer.follow_clock(step)
        self._rounds.reach.shift(step)
        self._due.shift(step)

    def _forget_all_but(self, policies: PolicySet) -> None:
        names = {policy.name for policy in policies.policies}
        refs = {policy.target.ref for policy in policies.policies}
        if policies.is_complete:  # else it belongs to policies that will be known soon
            self._store.forget_all_but(names)
        self._rounds.reach.forget_all_but(refs)
        self._due.forget_all_but(names)
        self._unchanged.forget_all_but(names)
        self._broken &= names
        self._pace.forget_all_but(refs)
        self._changes.forget_all_but(refs)
        self._slow &= refs
        if not policies.policies:
            self._farewells.clear()
