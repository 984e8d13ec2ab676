"""How full and how worn a single pod is: whether new users should go elsewhere."""

from __future__ import annotations

from autoscaler.model import PodState
from autoscaler.policy import MemoryMetric, Policy, Recycle

# A full pod gets users again below this share of its seats: 18 of 20.
ROOM_AGAIN = 0.9


def is_full(pod: PodState, policy: Policy) -> bool:
    """Whether every seat is taken, or memory is halfway from its target to the limit."""
    seats = policy.sessions.seats if policy.sessions else None
    crowded = seats is not None and pod.sessions is not None and pod.sessions.value >= seats
    return crowded or is_heavy(pod, policy)


def is_heavy(pod: PodState, policy: Policy) -> bool:
    """Whether memory is halfway from its target to the limit; users who leave rarely free it."""
    return _over_memory(pod, policy, share=0.5)


def has_room(pod: PodState, policy: Policy) -> bool:
    """Whether a full pod can have users again; what is not known is no room."""
    if pod.sessions is None:
        return False
    seats = policy.sessions.seats if policy.sessions else None
    seated = seats is None or pod.sessions.value <= min(seats * ROOM_AGAIN, seats - 1)
    return seated and not _over_memory(pod, policy, share=0.0)


def is_worn(pod: PodState, recycle: Recycle, now: float) -> bool:
    """Whether a pod is to be replaced: too old, or holding memory that servers rarely return."""
    born, filled = pod.created_at, memory_percent(pod)
    is_old = recycle.age is not None and born is not None and now - born >= recycle.age
    return is_old or (
        recycle.memory is not None and filled is not None and filled >= recycle.memory
    )


def memory_percent(pod: PodState) -> float | None:
    """Memory in percent of the limit; None where either is not known."""
    if pod.memory is None or not pod.resources.memory_limit:
        return None
    return 100.0 * pod.memory.value / pod.resources.memory_limit


def _over_memory(pod: PodState, policy: Policy, share: float) -> bool:
    """Whether memory is past its target by this share of the way to the limit."""
    metric = next((m for m in policy.metrics if isinstance(m, MemoryMetric)), None)
    filled = memory_percent(pod)
    if metric is None or filled is None:
        return False
    return filled >= metric.utilization + share * (100.0 - metric.utilization)
