"""What one pass did, as values: for logs, metrics, Events and the demo's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from autoscaler.control.reachability import Silence
from autoscaler.errors import (
    AutoscalerError,
    LeaseError,
    NotEmptyError,
    TargetNotFoundError,
    ThrottledError,
)
from autoscaler.model import Decision, Observation, PodMarks, PodState, Reason, SeatEstimate, State
from autoscaler.policy import Policy
from autoscaler.ports import LeadershipStatus, PolicySet, TargetState

FAILED_GET_SCALE, FAILED_RESCALE = "FailedGetScale", "FailedRescale"
NOT_LEADER = "NotLeader"


class Decided(NamedTuple):
    """One call of `decide`: what went in, and what came out before anything was written."""

    at: float
    observed: Observation
    before: State
    decision: Decision
    after: State


class SeatsInUse(NamedTuple):
    """The learned seats of a policy. before: those that this pass replaced; None: the same.

    estimate: None until a history has been read. written: the policy as its file has it.
    """

    seats: int
    before: int | None
    estimate: SeatEstimate | None
    written: Policy


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pass did about one policy.

    decision None: the target could not be read, `problem` says why and `failure` names the kind, as
    Events do; is_missing: it does not exist, or not yet. decided: how the decision was made.
    changed: the scale was patched. marked: the pods whose labels or annotations were written, with
    what they carry now; both also where a later step of the same pass failed. unreachable: sidecars
    that the daemon cannot reach.
    """

    policy: Policy
    target: TargetState | None = None
    observed: Observation | None = None
    decision: Decision | None = None
    decided: Decided | None = None
    changed: bool = False
    problem: str | None = None
    failure: str = ""
    is_missing: bool = False
    marked: tuple[tuple[PodState, PodMarks], ...] = ()
    unreachable: tuple[Silence, ...] = ()
    seats: SeatsInUse | None = None


class Released(NamedTuple):
    """A pod of a target without a policy, from which our labels and annotations were removed."""

    target: TargetState
    pod: PodState
    marks: PodMarks


@dataclass(frozen=True, slots=True)
class PassResult:
    """One pass: its outcomes in the policies' order, and the state of the policy files.

    leadership: whether this daemon leads, for each namespace where that matters. released: pods
    that no policy drains any more. unevaluated: policies that this standby has and the leader does
    not, so that nobody evaluates them.
    """

    at: float
    outcomes: tuple[Outcome, ...]
    policies: PolicySet
    leadership: Mapping[str, LeadershipStatus] = field(default_factory=dict)
    released: tuple[Released, ...] = ()
    unevaluated: tuple[Policy, ...] = ()


class Recorder(Protocol):
    """Where a pass is told: logs, metrics, Events, the journal, the demo's table."""

    def record(self, result: PassResult) -> None:
        """Take note of one finished pass."""


def stopped(outcome: Outcome, error: AutoscalerError) -> Outcome:
    """Return what is told of a pass that the error ended before everything was written."""
    if isinstance(error, LeaseError):  # another daemon leads now: not even an Event
        return Outcome(
            outcome.policy, decided=outcome.decided, problem=str(error), failure=NOT_LEADER
        )
    if isinstance(error, ThrottledError) and outcome.decision is not None:
        return replace(outcome, decision=outcome.decision.held(Reason.WRITES_LIMITED, str(error)))
    if isinstance(error, NotEmptyError) and outcome.decision is not None:
        held = outcome.decision.held(Reason.SESSIONS_STILL_OPEN, str(error))
        return replace(outcome, decision=held)
    return replace(outcome, problem=str(error), failure=FAILED_RESCALE)


def unread(policy: Policy, error: AutoscalerError) -> Outcome:
    """Return the outcome of a pass that could not read the target."""
    match error:
        case LeaseError():
            failure = NOT_LEADER
        case ThrottledError():  # an Event would be one more write
            failure = Reason.WRITES_LIMITED.value
        case _:
            failure = FAILED_GET_SCALE
    is_missing = isinstance(error, TargetNotFoundError)
    return Outcome(policy, problem=str(error), failure=failure, is_missing=is_missing)
