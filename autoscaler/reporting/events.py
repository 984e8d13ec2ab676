"""What is told of a pass, in words: the same for Events and logs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from autoscaler.control.pass_result import Outcome, SeatsInUse
from autoscaler.control.reachability import Silence
from autoscaler.core.drain.pods import memory_percent
from autoscaler.core.drain.sightings import released_since
from autoscaler.core.holds import drains, pause_of
from autoscaler.core.seating import described
from autoscaler.model import (
    Cause,
    Confirmation,
    Departing,
    Observation,
    PodMarks,
    PodState,
    Reason,
    Step,
)
from autoscaler.policy import Policy
from autoscaler.ports import PolicySet
from autoscaler.reporting.policy_changes import in_one_line
from autoscaler.units import counted, duration_text
from exporter.texts import LONGEST_EVENT

# No metric could be read, or none could be made of it.
UNREADABLE = {
    Reason.FAILED_GET_RESOURCE_METRIC,
    Reason.FAILED_GET_SESSIONS_METRIC,
    Reason.FAILED_GET_EXTERNAL_METRIC,
}
# Doubts that keep the replicas as they are. A rollout ends by itself; the others may not.
HOLDS = UNREADABLE | {
    Reason.PARTIAL_DATA,
    Reason.ROLLOUT_IN_PROGRESS,
    Reason.ROLLOUT_PAUSED,
    Reason.DELETION_ORDER_UNCERTAIN,
    Reason.FOREIGN_DELETION_COST,
    Reason.VICTIM_MISMATCH,
    Reason.OTHER_AUTOSCALER,
    Reason.NOT_CORDONABLE,
    Reason.FOREIGN_WRITER,
    Reason.STALE_CACHE,
}
# Waiting that is as it should be.
QUIET_HOLDS = {Reason.ROLLOUT_IN_PROGRESS, Reason.SESSIONS_STILL_OPEN, Reason.PAUSED}
UNDRAINED = "it is no longer drained"
PAUSED = f"hold {Reason.PAUSED}"
# Told once, however long it lasts.
TOLD_ONCE = {Reason.SESSIONS_STILL_OPEN, Reason.PAUSED}
# Characters of an Event for the name of its policy and for how many problems it leaves out.
ROOM = 150
TOLD_PODS, TOLD_POLICIES = 3, 10  # by name in one message
BECAUSE = {
    Cause.SCALE_DOWN: ("to be deleted once it has no session", "it is needed again"),
    Cause.RESERVE: ("in reserve until new sessions need it", "new sessions need it"),
    Cause.FULL: ("full: new sessions go to other pods until it has room", "it has room again"),
}


class Message(NamedTuple):
    """One thing to tell. key: what it is about, told once while it lasts; "": told each time.

    again: whether it is told once more after an hour while it lasts.
    """

    reason: str
    text: str
    warning: bool = False
    key: str = ""
    again: bool = True


def messages(outcome: Outcome, policies: PolicySet) -> Iterator[Message]:
    """Everything of one policy's pass that an Event tells, each with its policy's name."""
    for message in _messages(outcome, policies):
        yield message._replace(text=f"{outcome.policy.name}: {message.text}")


def _messages(outcome: Outcome, policies: PolicySet) -> Iterator[Message]:
    decision = outcome.decision
    for _, message in pod_messages(outcome):
        yield message
    if outcome.changed and decision is not None:
        words = f"{decision.current} -> {decision.desired} replicas: {decision.detail}"
        yield Message("SuccessfulRescale", words)
    yield from released(outcome)
    yield from passing(outcome)
    if outcome.problem:
        yield Message(outcome.failure, outcome.problem, warning=True, key=outcome.problem)
    elif decision is not None:
        yield from map(_held, _holds(decision.steps))
    if outcome.unreachable:
        yield unreachable(outcome.unreachable)
    if outcome.seats is not None and outcome.seats.before is not None:
        yield seats_changed(outcome.seats)
    if odd := [pod for pod in (outcome.target.pods if outcome.target else ()) if pod.unreadable]:
        yield _unreadable(odd)
    if broken := broken_edit(outcome.policy, policies):
        yield Message("PolicyFileRejected", broken, warning=True, key=broken)


def passing(outcome: Outcome) -> Iterator[Message]:
    """What happened once and does not last: sessions that ended, a pod that was not chosen."""
    decision = outcome.decision
    if decision is not None and decision.confirmed is not None and decision.confirmed.mismatch:
        yield _unchosen(decision.confirmed)
    if decision is not None and decision.reset:
        yield _reset(decision.reset)
    if decision is not None and decision.drain is not None and decision.drain.idle:
        yield Message(Reason.IDLE_SESSIONS, decision.drain.idle)
    for pod in decision.ended if decision is not None else ():
        if pod.sessions:
            yield _cut(pod)


def released(outcome: Outcome) -> Iterator[Message]:
    """Which pods are deleted only because sessions were released, once for each."""
    decided = outcome.decided
    if not outcome.changed or decided is None or decided.decision.drain is None:
        return
    for pod in decided.decision.drain.remove:
        is_empty = pod.occupancy is not None and not pod.occupancy.live
        count = released_since(decided.after.sightings, pod) if is_empty else 0
        if count:
            kept = counted(count, "session")
            ago = duration_text(round(decided.at - pod.cordon.at)) if pod.cordon else "some time"
            words = (
                f"pod {pod.name}, cordoned {ago} ago, was held by {kept} until "
                f"{'it was' if count == 1 else 'they were'} released: nobody used the page, or its "
                "app lets it be closed"
            )
            yield Message(Reason.SESSIONS_RELEASED, words)


def _holds(steps: tuple[Step, ...]) -> Iterator[Step]:
    """The last step of each reason that holds, in their order."""
    wanted = HOLDS | TOLD_ONCE
    yield from {step.reason: step for step in steps if step.reason in wanted}.values()


def _held(step: Step) -> Message:
    """By its reason alone: the numbers of a hold change with every pass."""
    quiet = step.reason in QUIET_HOLDS
    again = step.reason not in TOLD_ONCE
    return Message(step.reason.value, step.detail, not quiet, f"hold {step.reason}", again)


def resumed(policy: Policy) -> Message:
    """That a pause has ended, whoever began it."""
    words = "the pause has ended: the Deployment is scaled again"
    return Message(Reason.RESUMED, f"{policy.name}: {words}")


def _unchosen(confirmed: Confirmation) -> Message:
    told = (
        f"which had {counted(confirmed.cut, 'session')}"
        if confirmed.cut
        else "which had no session"
    )
    words = f"Kubernetes deleted a pod that had not been drained, {told}"
    return Message(Reason.VICTIM_MISMATCH, f"{words}; scale-downs are paused for 10m", warning=True)


def seats_changed(seats: SeatsInUse) -> Message:
    """That another number of sessions is let onto a pod, and why."""
    why = f": {described(seats.estimate)}" if seats.estimate is not None else ""
    words = f"{seats.before} -> {counted(seats.seats, 'seat')} for each pod{why}"
    return Message(Reason.SEATS_LEARNED, words)


def _reset(what: str) -> Message:
    words = f"{what}; scale-downs are paused for 10m"
    cure = "leave replicas and this label to the autoscaler, as docs/adopt.md says"
    return Message(Reason.FOREIGN_WRITER, f"{words}. To end this, {cure}", warning=True)


def _cut(pod: Departing) -> Message:
    """That sessions ended with a removed pod, by the last word of its launcher or sidecar."""
    why = {
        Reason.DRAIN_DEADLINE_EXCEEDED: "its drain deadline had passed",
        Reason.VICTIM_MISMATCH: "Kubernetes deleted it in place of a drained pod",
    }.get(pod.why, "they began after the last look at its sidecar")
    reason = Reason.SESSIONS_CUT if pod.why is Reason.DRAINED else pod.why
    words = f"a scale-down ended {counted(pod.sessions, 'session')} on pod {pod.name}: {why}"
    return Message(reason, words, warning=True)


def unreachable(silent: tuple[Silence, ...]) -> Message:
    """Which sidecars the daemon cannot reach, what follows and what to change."""
    first = "; ".join(f"{each.pod}: {each.message}" for each in silent[:TOLD_PODS])
    more = f" and {len(silent) - TOLD_PODS} more" if len(silent) > TOLD_PODS else ""
    words = (
        f"cannot reach the sidecars of {counted(len(silent), 'pod')} ({first}{more}), which count "
        "as busy and are not deleted. Allow the daemon's pods to connect to this port of the app's "
        "pods: in their NetworkPolicy, in the mutual TLS of a service mesh (exclude the port), "
        "and check --exporter-port"
    )
    return Message(Reason.SIDECAR_UNREACHABLE, words, warning=True, key="unreachable")


def _unreadable(odd: Sequence[PodState]) -> Message:
    """Which pods carry what cannot be read, and what to do."""
    first = "; ".join(f"{pod.name}: {', '.join(pod.unreadable)}" for pod in odd[:TOLD_PODS])
    more = f" and {len(odd) - TOLD_PODS} more pods" if len(odd) > TOLD_PODS else ""
    words = f"cannot read what pods carry ({first}{more}); it counts as absent: correct it"
    return Message("UnreadableAnnotation", words, warning=True, key="unreadable")


def nobody_evaluates(policies: Sequence[Policy]) -> str:
    """Which policies of this standby the leader lacks, and what to change; "" for none."""
    if not policies:
        return ""
    names = ", ".join(f"{policy.name} ({policy.target.ref})" for policy in policies[:TOLD_POLICIES])
    more = f" and {len(policies) - TOLD_POLICIES} more" if len(policies) > TOLD_POLICIES else ""
    return (
        f"nobody evaluates {names}{more}: the leader does not have these policies. Give both "
        "daemons the same policies, or this one a Lease of its own (--lease NAME)"
    )


def pod_messages(outcome: Outcome) -> Iterator[tuple[PodState, Message]]:
    """Each pod that was cordoned or uncordoned in a pass, and what is told of it."""
    policy, observed = outcome.policy, outcome.observed
    ended = why_not_drained(policy, observed) if observed is not None else ""
    for pod, marks in outcome.marked:
        if _is_packing(pod, marks):
            continue
        for message in mark_messages(pod, marks, policy, ended=ended):
            yield pod, message


def why_not_drained(policy: Policy, observed: Observation) -> str:
    """Why the cordons of pods end that no number has ended; "" while pods are drained."""
    if drains(policy, observed):
        return ""
    return UNDRAINED if pause_of(policy, observed) is None else "scaling is paused"


def _is_packing(pod: PodState, marks: PodMarks) -> bool:
    """Whether a pod is opened for new sessions or put in reserve, as happens many times a day."""
    if marks.routable:
        return pod.is_reserve
    return marks.cordon is not None and marks.cordon.cause is Cause.RESERVE


def mark_messages(
    pod: PodState, marks: PodMarks, policy: Policy | None = None, *, ended: str = ""
) -> Iterator[Message]:
    """That a pod was cordoned or uncordoned, why, and with which numbers.

    policy: None where it is gone. ended: why pods are not drained any more, or "".
    """
    numbers = _numbers(pod, policy)
    if policy is None:
        ended = UNDRAINED
    if marks.routable and not pod.routable:
        cause = ended or (BECAUSE[pod.cordon.cause][1] if pod.cordon else UNDRAINED)
        yield Message(Reason.UNCORDONED, f"uncordoned pod {pod.name} ({cause}): {numbers}")
    elif not marks.routable and marks.cordon and not _has_cordon(pod, marks.cordon.cause):
        cause = BECAUSE[marks.cordon.cause][0]
        yield Message(Reason.CORDONED, f"cordoned pod {pod.name} ({cause}): {numbers}")


def _has_cordon(pod: PodState, cause: Cause) -> bool:
    return not pod.routable and pod.cordon is not None and pod.cordon.cause is cause


def _numbers(pod: PodState, policy: Policy | None) -> str:
    """Sessions, seats and memory of a pod, as far as they are known."""
    told = "no session count"
    if pod.occupancy is not None:
        told = counted(pod.occupancy.live, "session")
    elif pod.sessions is not None:
        told = counted(pod.sessions.value, "session")
    if pod.seats is not None:
        told += f" that take {counted(pod.seats.value, 'seat')}"
    if policy is not None and policy.sessions is not None:
        told += f", {policy.sessions.seats} seats"
    if (percent := memory_percent(pod)) is not None:
        told += f", memory at {percent:.0f} % of its limit"
    return told


def broken_edit(policy: Policy, policies: PolicySet) -> str | None:
    """What is wrong with the newest version of a policy's file; None while that is active."""
    file = policies.files.get(policy.name)
    problems = policies.problems.get(file or "", ())
    if not problems or file is None:
        return None
    words = f"{file} is rejected, and its last valid version stays active: "
    return words + in_one_line(file, problems, LONGEST_EVENT - len(words) - ROOM)
