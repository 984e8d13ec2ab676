"""What the daemon answers to `/status`: what its last pass over each policy saw and decided.

A pass only keeps its outcomes. The page is made from them when somebody asks for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from autoscaler.control.observation import required_signals
from autoscaler.control.pass_result import NOT_LEADER, Decided, Outcome, PassResult, SeatsInUse
from autoscaler.core import sessions
from autoscaler.core.drain.pods import is_draining, sessions_of
from autoscaler.core.holds import pause_of
from autoscaler.core.now import Now
from autoscaler.core.seating import described
from autoscaler.model import Decision, Observation, PodState
from autoscaler.policy import Policy
from autoscaler.ports import LeadershipStatus
from autoscaler.reporting.decision_fields import decision_fields
from autoscaler.reporting.explanation import spare_seats
from autoscaler.reporting.status_report import (
    Pods,
    PolicyStatus,
    Replicas,
    Seats,
    StatusReport,
    to_json,
)
from autoscaler.units import counted

STATES = ("open", "reserve", "full", "draining", "starting")
UNSEEN = "this daemon has not evaluated the policy yet"


class _Seen(NamedTuple):
    """The last outcome of a policy. Times are seconds of the steady clock.

    at: of the pass. since: of the first pass in a row with the same reason.
    """

    outcome: Outcome
    at: float
    since: float


class StatusPage:
    """A `Recorder` of the last outcome of each policy. steady: a clock that is never set."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._result: PassResult | None = None
        self._seen: dict[str, _Seen] = {}

    def record(self, result: PassResult) -> None:
        """Take note of one pass, which need not have had every policy's turn."""
        now, seen = self._steady(), self._seen
        for outcome in result.outcomes:
            name = outcome.policy.name
            last = seen.get(name)
            same = last is not None and _reason(last.outcome) == _reason(outcome)
            seen[name] = _Seen(outcome, now, last.since if last is not None and same else now)
        if self._result is None or self._result.policies.policies != result.policies.policies:
            known = {policy.name for policy in result.policies.policies}
            self._seen = {name: each for name, each in seen.items() if name in known}
        self._result = result

    def content(self) -> bytes | None:
        """Return the page as JSON; None before the first pass has ended. Any thread may ask."""
        report = self.report()
        return None if report is None else to_json(report)

    def report(self) -> StatusReport | None:
        """Return the page as values; None before the first pass has ended."""
        result, now = self._result, self._steady()
        if result is None:
            return None
        policies = result.policies
        told = (
            self._status(policy, result.leadership.get(policy.target.namespace), now)
            for policy in policies.policies
        )
        return StatusReport(tuple(told), policies.rejected, tuple(sorted(policies.empty)))

    def _status(
        self, policy: Policy, leadership: LeadershipStatus | None, now: float
    ) -> PolicyStatus:
        seen = self._seen.get(policy.name)
        if seen is not None and (seen.outcome.policy.target != policy.target or _lost(seen)):
            seen = None
        if leadership is not None and not leadership.is_leader:
            return _silent(policy, leadership.detail, leader=False)
        if seen is None:
            return _silent(policy, UNSEEN, leader=True)
        return _status(seen, now)


def _lost(seen: _Seen) -> bool:
    """Return whether the daemon did not lead any more when it last looked."""
    return seen.outcome.failure == NOT_LEADER


def _silent(policy: Policy, detail: str, *, leader: bool) -> PolicyStatus:
    """Return the status of a policy that this daemon does not evaluate, or not yet."""
    reason = "" if leader else NOT_LEADER
    return PolicyStatus(policy.name, *policy.target.ref, leader, reason, detail, problem=detail)


def _reason(outcome: Outcome) -> str:
    if outcome.problem or outcome.decision is None:
        return outcome.failure
    return outcome.decision.reason.value


def _status(seen: _Seen, now: float) -> PolicyStatus:
    """Return the status of a policy that this daemon has evaluated, with settings and ages."""
    return replace(
        policy_status(seen.outcome),
        settings=_settings(seen.outcome),
        held_for=max(0.0, now - seen.since),
        age=max(0.0, now - seen.at),
    )


def _settings(outcome: Outcome) -> dict[str, Any]:
    """Return the settings of a policy, with the learned seats as its first guess."""
    seats = outcome.seats
    policy = outcome.policy if seats is None else seats.written.with_first(seats.seats)
    return policy.settings


def policy_status(outcome: Outcome) -> PolicyStatus:
    """Return what a pass saw of a policy and decided, without the policy's settings."""
    decision, observed = outcome.decision, outcome.observed
    problem = outcome.problem or ""
    told = PolicyStatus(
        outcome.policy.name,
        *outcome.policy.target.ref,
        leader=True,
        reason=_reason(outcome),
        detail=problem or (decision.detail if decision else ""),
        problem=problem,
        interval=outcome.policy.interval,
        learned=outcome.seats and _learned(outcome.seats),
    )
    if decision is None or observed is None:
        return told
    return _with_numbers(told, outcome.policy, decision, observed, outcome.decided)


def _learned(seats: SeatsInUse) -> str:
    """Return the learned seats in words."""
    why = described(seats.estimate) if seats.estimate else "no load of its pods has been read yet"
    return f"{counted(seats.seats, 'seat')} for each pod: {why}"


def _with_numbers(
    told: PolicyStatus,
    policy: Policy,
    decision: Decision,
    observed: Observation,
    decided: Decided | None,
) -> PolicyStatus:
    present = [pod for pod in observed.pods if pod.is_billed]
    is_counted = any(pod.occupancy or pod.sessions for pod in present)
    blind = 0
    if decided is not None and "sessions" in required_signals(policy):
        blind = sessions.without_data(observed.pods, Now(decided.at), observed.fresh_for)
    return replace(
        told,
        paused=pause_of(policy, observed),
        sessions=sum(map(sessions_of, present)) if is_counted else None,
        without_data=blind,
        replicas=_replicas(policy, decision, observed),
        seats=_seats(policy, decision, observed),
        pods=_pods(present),
        not_created=observed.not_created,
        decision=decision_fields(decision),
    )


def _replicas(policy: Policy, decision: Decision, observed: Observation) -> Replicas:
    asked = [each.replicas for each in decision.recommendations if each.replicas is not None]
    return Replicas(
        decision.current,
        decision.desired,
        max(asked, default=None),
        sum(pod.serving for pod in observed.pods),
        policy.replicas.min,
        policy.replicas.max,
    )


def _seats(policy: Policy, decision: Decision, observed: Observation) -> Seats | None:
    if policy.sessions is None:
        return None
    found = sessions.seating(observed.pods, policy.sessions.seats)
    return Seats(found.capacity, found.free, spare_seats(decision))


def _pods(present: Sequence[PodState]) -> Pods:
    active = [pod for pod in present if pod.is_active]
    count = Counter(map(_state, active))
    waiting = sum(sessions_of(pod) for pod in active if is_draining(pod))
    leaving = sum(sessions_of(pod) for pod in present if pod.deleting)
    return Pods(**{state: count[state] for state in STATES}, waiting=waiting, leaving=leaving)


def _state(pod: PodState) -> str:
    """Return which one of the states a pod is in; a cordon counts before what else is true."""
    if is_draining(pod):
        return "draining"
    if pod.is_cordoned_full:
        return "full"
    if pod.is_reserve:
        return "reserve"
    return "open" if pod.serving else "starting"
