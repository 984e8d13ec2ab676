"""What a single pod's notes and its sidecar's word mean for a drain: who has left, who has not."""

from __future__ import annotations

from math import inf

from autoscaler.model import Cause, PodState
from autoscaler.policy import Drain

# The lowest deletion cost goes first; one above the int32 minimum, which Karpenter writes.
LOWEST_COST = -(2**31) + 1
# A client that said something within this time is at work, and its deadline is pushed out.
ACTIVE_WITHIN = 300.0
# A session without a user whose work must not be cut holds its pod for so long.
BLOCKED_FOR = 600.0


def is_leaving(pod: PodState) -> bool:
    """Whether we cordoned the pod to remove it."""
    return not pod.routable and pod.cordon is not None and pod.cordon.cause is Cause.SHRINK


def is_apart(pod: PodState) -> bool:
    """Whether we cordoned the pod only until it has room again."""
    return not pod.routable and pod.cordon is not None and pod.cordon.cause is Cause.HOT


def is_marked(pod: PodState) -> bool:
    """Whether we put the pod first in its ReplicaSet's deletion order."""
    return pod.cost_is_ours and pod.deletion_cost == LOWEST_COST


def is_foreign(pod: PodState) -> bool:
    """Whether somebody else put the pod anywhere in its ReplicaSet's deletion order."""
    return pod.deletion_cost is not None and not pod.cost_is_ours


def is_vacated(pod: PodState, drain: Drain, now: float) -> bool:
    """Whether a cordoned pod may go: its users have left, or a deadline for them has passed."""
    if pod.cordon is None:
        return False
    if never_served(pod) and (pod.occupancy is None or not users(pod)):
        return True
    since = now - pod.cordon.at
    if since < drain.settle:
        return False
    if drain.hard_deadline is not None and since >= drain.hard_deadline:
        return True
    return is_empty(pod, drain) or _is_overdue(pod, drain, since)


def is_empty(pod: PodState, drain: Drain) -> bool:
    """Nobody is there, on the way, or about to reconnect, by the sidecar's own word."""
    seen = pod.occupancy
    if seen is None or seen.live or seen.opening:
        return False
    quiet = inf if seen.quiet_for is None else seen.quiet_for
    return quiet >= (max(drain.reconnect, BLOCKED_FOR) if seen.blocked else drain.reconnect)


def _is_overdue(pod: PodState, drain: Drain, since: float) -> bool:
    """The soft deadline has passed and nobody there has done anything for a while."""
    seen = pod.occupancy
    if drain.deadline is None or since < drain.deadline or seen is None:
        return False
    return not seen.opening and seen.idle_for is not None and seen.idle_for >= ACTIVE_WITHIN


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


def needs_protection(pod: PodState) -> bool:
    """Whether node autoscalers must leave the pod alone: it has users, or it had and is silent.

    Only while it has, for a pod that is protected for ever keeps its node for ever.
    """
    count = users(pod)
    return pod.protected if count == inf else count > 0
