"""A target's pods as a drain sees them, sorted out once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from autoscaler.core.deletion_order import deletion_order, is_active
from autoscaler.core.fullness import is_worn
from autoscaler.core.vacancy import is_apart, is_leaving, is_vacated
from autoscaler.model import Observation, PodState
from autoscaler.policy import Drain, Policy


@dataclass(frozen=True, slots=True)
class Fleet:
    """The target's active pods, sorted out once. current: spec.replicas.

    going: how many more there are, which the ReplicaSet is yet to remove; they are left alone.
    """

    policy: Policy
    drain: Drain
    now: float
    current: int
    pods: tuple[PodState, ...]
    going: int
    rolling: bool
    serving: tuple[PodState, ...] = field(init=False)
    leaving: tuple[PodState, ...] = field(init=False)
    due: tuple[PodState, ...] = field(init=False)

    def __post_init__(self) -> None:
        # Frozen for the reader; derived once.
        object.__setattr__(self, "serving", tuple(p for p in self.pods if p.routable))
        object.__setattr__(self, "leaving", tuple(p for p in self.pods if is_leaving(p)))
        object.__setattr__(self, "due", tuple(_due_for_recycling(self)))

    @property
    def staying(self) -> int:
        """Replicas that are there, or are being made, and are not on their way out."""
        return self.current - len(self.leaving)

    @property
    def is_complete(self) -> bool:
        """Whether every replica is there and Ready, and none comes or leaves."""
        moving = self.leaving or self.going or self.rolling
        return not moving and len(self.pods) == self.current and self.all_serve

    @property
    def is_open(self) -> bool:
        """Whether new users find a pod."""
        return any(pod.serving for pod in self.serving)

    @property
    def all_serve(self) -> bool:
        """Whether every pod that new users may be sent to is Ready."""
        return all(pod.serving for pod in self.serving)

    def vacated(self, pod: PodState) -> bool:
        """Whether a cordoned pod may go now."""
        return is_vacated(pod, self.drain, self.now)


def fleet_of(policy: Policy, drain: Drain, observed: Observation, now: float) -> Fleet:
    """What one pass has to do with."""
    pods = remaining(observed.pods, observed.replicas, now)
    going = max(0, sum(map(is_active, observed.pods)) - observed.replicas)
    rolling = observed.rollout_in_progress
    return Fleet(policy, drain, now, observed.replicas, pods, going, rolling)


def remaining(pods: Iterable[PodState], replicas: int, now: float) -> tuple[PodState, ...]:
    """The active pods less those that an earlier shrink takes: it must not come to take others.

    Several ReplicaSets have no common order, and their number is the business of the rollout.
    """
    active = tuple(pod for pod in pods if is_active(pod))
    if len({pod.replica_set for pod in active}) > 1:
        return active
    going = max(0, len(active) - replicas)
    gone = {pod.uid for pod in deletion_order(active, now)[:going]}
    return tuple(pod for pod in active if pod.uid not in gone)


def _due_for_recycling(fleet: Fleet) -> list[PodState]:
    """Pods over the age or the memory of the policy that stay, the oldest first.

    None while a rollout replaces them anyway.
    """
    recycle = fleet.policy.recycle
    if recycle is None or fleet.rolling:
        return []
    staying = (pod for pod in fleet.pods if pod.serving and (pod.routable or is_apart(pod)))
    worn = [pod for pod in staying if is_worn(pod, recycle, fleet.now)]
    return sorted(worn, key=lambda pod: pod.created_at or 0.0)
