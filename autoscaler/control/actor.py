"""Carries decisions out: what pods carry, and the scale, each write confirmed by the Lease."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from autoscaler.control.pass_result import Outcome, Released
from autoscaler.control.state_store import Key, StateStore
from autoscaler.control.write_pace import WritePace
from autoscaler.core.decide import record_removal, record_scaling
from autoscaler.core.drain.cleanup import released
from autoscaler.core.drain.progress import returned
from autoscaler.core.lease import LONGEST_WRITE
from autoscaler.core.now import Now
from autoscaler.core.schedule import effective
from autoscaler.errors import (
    AutoscalerError,
    ClusterError,
    ConflictError,
    NotEmptyError,
    RefusedError,
    TargetNotFoundError,
    ThrottledError,
)
from autoscaler.model import PodMarks, PodState, State, TargetRef
from autoscaler.policy import Policy
from autoscaler.ports import Clock, Cluster, Leadership, TargetState

# Where the API answers slowly, the rest of a target's pods is left for the next pass, in seconds.
MARKS_WITHIN = 5.0
# What sidecars said longer ago, in seconds, is no reason to remove their pods.
ANSWERS_WITHIN = 2.0
# A change without an answer may still take effect for so long, in seconds.
UNSURE_FOR = LONGEST_WRITE + 2.0


@dataclass(slots=True)
class Written:
    """What a pass has written of one policy so far, whatever becomes of the rest."""

    marked: list[tuple[PodState, PodMarks]] = field(default_factory=list)
    changed: bool = False


class Actor:
    """Writes what was decided. What fails is not remembered; what got no answer is.

    ask: the same target, with what the sidecars of its pods say now.
    """

    def __init__(
        self,
        cluster: Cluster,
        ask: Callable[[TargetState], TargetState],
        leadership: Leadership,
        store: StateStore,
        clock: Clock,
        pace: WritePace,
    ) -> None:
        self._cluster = cluster
        self._ask = ask
        self._leadership = leadership
        self._store = store
        self._clock = clock
        self._pace = pace
        self._unsure: dict[TargetRef, float] = {}

    def is_unsure(self, ref: TargetRef) -> bool:
        """Whether a scale request without an answer may still take effect."""
        return self._clock.steady() < self._unsure.get(ref, 0.0)

    def act(self, outcome: Outcome, target: TargetState, now: float, written: Written) -> None:
        """Carry the decision out: the marks of the pods, then the scale. Raises AutoscalerError.

        More replicas come first: users wait for them, and no mark has to be there before. Marks
        that have to wait then are left for the next pass.
        """
        decision = outcome.decision
        if decision is None:
            return
        changes = decision.drain.marks if decision.drain else ()
        if decision.desired > decision.current:
            self._change_scale(outcome, target, now, written)
            with suppress(ThrottledError):
                self._mark_pods(target, changes, written)
            return
        self._mark_pods(target, changes, written)
        if decision.desired < decision.current:
            self._change_scale(outcome, target, now, written)

    def _change_scale(
        self, outcome: Outcome, target: TargetState, now: float, written: Written
    ) -> None:
        """Write the change down, then make it. Raises AutoscalerError.

        A daemon that ends between the two leaves one that rests after a change which never came,
        and not one that forgets a change.
        """
        decision = outcome.decision
        if decision is None:
            return
        self._pace.take(target.ref, urgent=decision.desired > decision.current)
        with self._store.change(key_of(outcome.policy, target), lambda s: _after(s, outcome, now)):
            self._leadership.commit(target.ref.namespace)
            if outcome.policy.drain is not None and decision.drain is not None:
                self._ask_again(target, decision.drain.remove, outcome.policy)
                self._leadership.confirm(target.ref.namespace)
            self._scale(target, decision.desired)
        written.changed = True

    def _ask_again(self, target: TargetState, pods: tuple[PodState, ...], policy: Policy) -> None:
        """Ask the sidecars of the pods to remove, for the pass may have taken long since it asked.

        Raises NotEmptyError if anybody is there, or if the answers are too old by the time they are
        all here.
        """
        if not pods:
            return
        asked_at = self._clock.steady()
        answered = self._ask(replace(target, pods=pods))
        took = self._clock.steady() - asked_at
        now = Now(self._clock.now())
        drain = effective(policy, now).policy.drain
        if drain is not None and (words := returned(answered.pods, drain, now)):
            raise NotEmptyError(words)
        if took > ANSWERS_WITHIN:
            words = f"not scaled down: the sidecars took {took:.1f} s to answer"
            raise NotEmptyError(f"{words}, and a user may have come since the first did")

    def _mark_pods(
        self, target: TargetState, changes: Iterable[tuple[PodState, PodMarks]], written: Written
    ) -> None:
        """Write the pods' labels and annotations, uncordons first. Raises AutoscalerError."""
        began = self._clock.steady()
        for pod, marks in sorted(changes, key=lambda change: not _uncordons(*change)):
            if self._clock.steady() - began > MARKS_WITHIN:
                words = f"the API server is slow: {len(written.marked)} pods were patched"
                raise ClusterError(f"{words} in {MARKS_WITHIN:g} s, the others follow")
            self._pace.take(target.ref, urgent=_uncordons(pod, marks))
            self._leadership.confirm(target.ref.namespace)
            self._mark_pod(target, pod, marks)
            written.marked.append((pod, marks))

    def _mark_pod(self, target: TargetState, pod: PodState, marks: PodMarks) -> None:
        """Turn a conflict into ClusterError so that the pass ends.

        A retry would treat deletion costs that were written in this pass as seen by all.
        """
        try:
            self._cluster.mark_pod(target, pod, marks)
        except ConflictError as error:
            raise ClusterError(str(error)) from None

    def _scale(self, target: TargetState, replicas: int) -> None:
        """Without an answer it may come late, and then no pod must have new users meanwhile."""
        try:
            self._cluster.scale(target, replicas)
        except RefusedError:
            raise
        except ClusterError:
            self._unsure[target.ref] = self._clock.steady() + UNSURE_FOR
            raise

    def clean_up_pods(
        self, target: TargetState | AutoscalerError, now: float, done: list[Released]
    ) -> bool:
        """Remove our labels and annotations from the target's pods; `done` is told of each.

        Returns False while the ReplicaSet still has surplus pods, which may stay after all.
        """
        if isinstance(target, TargetNotFoundError):
            return True
        if isinstance(target, AutoscalerError):
            raise target
        for pod, marks in released(target.pods, target.replicas, Now(now)):
            self._pace.take(target.ref, urgent=False)
            self._leadership.confirm(target.ref.namespace)
            self._cluster.mark_pod(target, pod, marks)
            done.append(Released(target, pod, marks))
        return sum(pod.is_active for pod in target.pods) <= target.replicas


def _uncordons(pod: PodState, marks: PodMarks) -> bool:
    """Whether users wait for these marks."""
    return marks.routable and pod.cordon is not None


def key_of(policy: Policy, target: TargetState) -> Key:
    """Under which the state of a policy and its target is kept."""
    return Key(target.ref.namespace, policy.name, target.uid)


def _after(state: State, outcome: Outcome, now: float) -> State:
    """What is remembered of a change that takes effect."""
    decision, observed = outcome.decision, outcome.observed
    if decision is None or observed is None:
        return state
    state = record_scaling(state, outcome.policy, decision.current, decision.desired, now)
    return record_removal(state, decision, observed, now)
