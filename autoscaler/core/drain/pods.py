"""What one pod means for a drain: cordoned, drained, full, near its memory limit, due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from autoscaler.core.now import Now
from autoscaler.model import PodState, Sample
from autoscaler.policy import Drain, Policy, Recycle

# The lowest deletion cost goes first; one above the int32 minimum, which Karpenter writes.
LOWEST_COST = -(2**31) + 1
# A client that said something within this time is at work, and its deadline is pushed out.
ACTIVE_WITHIN = 300.0
# A full pod gets users again below this share of its seats: 18 of 20.
ROOM_AGAIN = 0.9


def is_draining(pod: PodState) -> bool:
    """Whether the pod is drained: we cordoned it to remove it, or somebody did so by hand."""
    return not pod.is_available and not pod.is_cordoned_full


def is_cordoned_by_hand(pod: PodState) -> bool:
    """Whether somebody else cordoned the pod: the label is off, and no note of ours says why.

    Only who set the label may uncordon it.
    """
    return not pod.routable and pod.cordon is None


def is_marked(pod: PodState) -> bool:
    """Whether we put the pod first in its ReplicaSet's deletion order."""
    return pod.cost_is_ours and pod.deletion_cost == LOWEST_COST


def has_foreign_cost(pod: PodState) -> bool:
    """Whether somebody else put the pod anywhere in its ReplicaSet's deletion order."""
    return pod.deletion_cost is not None and not pod.cost_is_ours


def is_drained(pod: PodState, drain: Drain, cordoned_for: float, now: Now) -> bool:
    """Whether a cordoned pod may be marked and removed.

    cordoned_for: seconds for which this daemon has seen it cordoned, during which users may still
    have arrived.
    """
    if pod.routable or not is_free_to_go(pod, drain, now):
        return False
    return _never_had_sessions(pod) or now.has_lasted(cordoned_for, drain.settle)


def is_free_to_go(pod: PodState, drain: Drain, now: Now) -> bool:
    """Whether the users of a cordoned pod have left, or a deadline for them has passed."""
    if is_empty(pod, drain, now) or _never_had_sessions(pod):
        return True
    cordoned_for = 0.0 if pod.cordon is None else now.at - pod.cordon.at
    if drain.hard_deadline is not None and now.has_lasted(cordoned_for, drain.hard_deadline):
        return True
    return _is_overdue(pod, drain, cordoned_for, now)


def is_empty(pod: PodState, drain: Drain, now: Now) -> bool:
    """Whether the sidecar has seen no sign of a user for the whole reconnect window."""
    seen = pod.occupancy
    if seen is None or seen.empty_for is None:
        return False
    return now.has_lasted(seen.empty_for, drain.reconnect)


def _is_overdue(pod: PodState, drain: Drain, cordoned_for: float, now: Now) -> bool:
    """The soft deadline has passed and nobody there has done anything for a while."""
    seen = pod.occupancy
    if drain.deadline is None or seen is None or not now.has_lasted(cordoned_for, drain.deadline):
        return False
    if seen.opening or seen.idle_for is None:
        return False
    return now.has_lasted(seen.idle_for, ACTIVE_WITHIN)


def _never_had_sessions(pod: PodState) -> bool:
    """Whether no user can have come to the pod, nor one has by its sidecar's answer."""
    seen = pod.occupancy
    return never_served(pod) and (seen is None or seen.empty_for is not None)


def never_served(pod: PodState) -> bool:
    """Whether no Service has ever sent a user to the pod."""
    return pod.phase == "Pending" or pod.ready is None


def users(pod: PodState) -> float:
    """Sessions, by the pod's own word where it was asked; without one it is full."""
    if pod.occupancy is not None:
        return pod.occupancy.live + pod.occupancy.opening
    if pod.sessions is not None:
        return pod.sessions.value
    return -1.0 if never_served(pod) else inf


def sessions_of(pod: PodState) -> int:
    """Sessions with a connection, as the pod's sidecar said last, or as they were scraped."""
    if pod.occupancy is not None:
        return pod.occupancy.live
    return pod.sessions.value if pod.sessions else 0


def needs_protection(pod: PodState) -> bool:
    """Whether node autoscalers must leave the pod alone: it has users, or it had and is silent.

    Only while it has, for a pod that is protected for ever keeps its node for ever.
    """
    if pod.occupancy is not None:
        return pod.occupancy.empty_for is None
    if pod.sessions is not None:
        return pod.sessions.value > 0
    return pod.protected and not never_served(pod)


def is_full(pod: PodState, policy: Policy) -> bool:
    """Whether every seat is taken, or memory is halfway from its target to the limit."""
    metric, taken = policy.sessions, pod.taken
    if metric is not None and taken is not None and taken.value >= metric.seats:
        return True
    return is_near_memory_limit(pod, policy)


def is_near_memory_limit(pod: PodState, policy: Policy) -> bool:
    """Whether memory is halfway from its target to the limit; users who leave rarely free it."""
    return _is_over_memory(pod, policy, share=0.5)


def has_room(pod: PodState, policy: Policy) -> bool:
    """Whether a full pod can have users again; what is not known is no room."""
    if pod.taken is None:
        return False
    seats = policy.sessions.seats if policy.sessions else None
    seated = seats is None or pod.taken.value <= min(seats * ROOM_AGAIN, seats - 1)
    return seated and not _is_over_memory(pod, policy, share=0.0)


def is_due_for_recycling(pod: PodState, recycle: Recycle, now: Now) -> bool:
    """Whether a pod is to be replaced: too old, or holding memory that servers rarely return."""
    born, filled = pod.created_at, memory_percent(pod)
    is_old = recycle.age is not None and born is not None and now.has_passed(recycle.age, born)
    return is_old or (
        recycle.memory is not None and filled is not None and filled >= recycle.memory
    )


def memory_percent(pod: PodState) -> float | None:
    """Memory in percent of the limit; None where either is not known."""
    limit = memory_limit(pod)
    if pod.memory is None or not limit:
        return None
    return 100.0 * pod.memory.value / limit


def memory_limit(pod: PodState) -> int | None:
    """The limit at which the kernel kills what `pod.memory` measures, in milli-bytes.

    What was measured beside it counts first; the limits of other containers are no help to this
    one, so they never add up.
    """
    return pod.resources.memory_limit if pod.memory_limit is None else pod.memory_limit


def nearest_to_its_limit(
    used: Mapping[str, Sample], limits: Sequence[tuple[str, int]]
) -> tuple[Sample | None, int | None]:
    """Memory and limit of the container that the kernel would kill first.

    used: by name of the container. limits: each with the container's name, "" for the limit of the
    whole pod. None for the memory where one of them does not tell; None for the limit without any.
    """
    if not used or any(name not in used for name, _ in limits if name):
        return None, None
    total = sum(each.value for each in used.values())
    known = {**used, "": Sample(total, min(each.at for each in used.values()))}
    if not limits:
        return known[""], None
    name, limit = max(limits, key=lambda each: known[each[0]].value / max(1, each[1]))
    return known[name], limit


def _is_over_memory(pod: PodState, policy: Policy, share: float) -> bool:
    """Whether memory is past its target by this share of the way to the limit."""
    metric = policy.memory
    if metric is None or (filled := memory_percent(pod)) is None:
        return False
    return filled >= metric.utilization + share * (100.0 - metric.utilization)
