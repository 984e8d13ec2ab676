"""A target's pods as a drain sees them, sorted out once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf

from autoscaler.core.drain.ages import weighted_sessions
from autoscaler.core.drain.deletion_order import deletion_order
from autoscaler.core.drain.pods import (
    is_cordoned_by_hand,
    is_drained,
    is_draining,
    is_due_for_recycling,
    users,
)
from autoscaler.core.drain.sightings import Sightings, cordoned_for, lacking
from autoscaler.core.now import Now
from autoscaler.model import Ages, Observation, PodState, State
from autoscaler.policy import Drain, Policy


@dataclass(slots=True)
class Fleet:
    """The target's active pods, sorted out once. current: spec.replicas.

    going: how many more there are, which the ReplicaSet still has to delete; they are left alone.
    unmade: replicas for which there has been no pod for some time. stay: seconds that a session
    lasts on average; None where that is not known. ages: of the sessions on each pod. serving: pods
    that are not cordoned, or only in reserve. warm: those of them that are Ready. open: those of
    them that accept new sessions. cordoned: for whatever reason. leaving: those of them that are
    being drained. returnable: those of them that may be uncordoned when load returns. due: for
    recycling.
    """

    policy: Policy
    drain: Drain
    now: Now
    current: int
    pods: tuple[PodState, ...]
    going: int
    rolling: bool
    seen: Sightings = field(default_factory=dict)
    unmade: int = 0
    stay: float | None = None
    ages: Ages | None = None
    serving: Sequence[PodState] = field(init=False)
    warm: Sequence[PodState] = field(init=False)
    open: Sequence[PodState] = field(init=False)
    cordoned: Sequence[PodState] = field(init=False)
    leaving: Sequence[PodState] = field(init=False)
    returnable: Sequence[PodState] = field(init=False)
    due: Sequence[PodState] = field(init=False)

    def __post_init__(self) -> None:
        self.serving = [pod for pod in self.pods if pod.is_available]
        self.warm = [pod for pod in self.serving if pod.serving]
        self.open = [pod for pod in self.warm if pod.routable]
        self.cordoned = [pod for pod in self.pods if not pod.routable]
        self.leaving = [pod for pod in self.cordoned if is_draining(pod)]
        self.returnable = [pod for pod in self.leaving if not is_cordoned_by_hand(pod)]
        self.due = _due_for_recycling(self)

    @property
    def staying(self) -> int:
        """Replicas that exist or are being created and are not being drained."""
        return self.current - len(self.leaving)

    @property
    def is_complete(self) -> bool:
        """Whether every replica exists and is Ready, and none is added or removed."""
        moving = self.returnable or self.going or self.rolling
        return not moving and len(self.pods) == self.current and self.all_serve

    @property
    def is_open(self) -> bool:
        """Whether a pod accepts new sessions, or will from the next pass on."""
        return bool(self.warm)

    @property
    def all_serve(self) -> bool:
        """Whether every pod that is not cordoned, or only in reserve, is Ready."""
        return len(self.warm) == len(self.serving)

    def lasts(self, pod: PodState) -> float:
        """Return by what pods are ranked, those first that are expected to be empty first.

        It is the number of sessions, in which young ones count more once it is known how long they
        last. Below 0 for a pod that never served, and without an end for one that tells nothing.
        """
        count = users(pod)
        begins = self.ages.begins.get(pod.uid) if self.ages else None
        if self.ages is None or begins is None or self.stay is None or not 0 < count < inf:
            return count
        return weighted_sessions(begins, self.ages.at, self.stay)

    def is_drained(self, pod: PodState) -> bool:
        """Whether a cordoned pod may be deleted now."""
        cordoned = cordoned_for(self.seen, pod, self.now.at)
        return is_drained(pod, self.drain, cordoned, self.now)


def fleet_of(policy: Policy, drain: Drain, observed: Observation, state: State, now: Now) -> Fleet:
    """Sort out the target's pods for one pass."""
    active = observed.active
    going = max(0, len(active) - observed.replicas)
    pods = remaining(active, observed.replicas, now) if going else active
    rolling, seen = observed.rollout_in_progress, state.sightings
    unmade = lacking(state.shortage, observed.replicas, now)
    stays = state.traffic and state.traffic.stays
    stay = stays.mean if stays else None
    return Fleet(
        policy, drain, now, observed.replicas, pods, going, rolling, seen, unmade, stay, state.ages
    )


def remaining(pods: Iterable[PodState], replicas: int, now: Now) -> tuple[PodState, ...]:
    """Return the active pods less those that the ReplicaSet still deletes for a scale-down.

    Touching those could make it delete others instead. Several ReplicaSets have no common order,
    and a rollout decides how many pods each has.
    """
    active = tuple(pod for pod in pods if pod.is_active)
    if len({pod.replica_set for pod in active}) > 1:
        return active
    going = len(active) - replicas
    if going <= 0:
        return active
    now.holds_only_now()  # ages can change the order at any time
    gone = {pod.uid for pod in deletion_order(active, now.at)[:going]}
    return tuple(pod for pod in active if pod.uid not in gone)


def _due_for_recycling(fleet: Fleet) -> list[PodState]:
    """Return the pods that exceed the policy's age or memory, the oldest first.

    None are due during a rollout, which replaces them anyway.
    """
    recycle = fleet.policy.recycle
    if recycle is None or fleet.rolling:
        return []
    staying = (pod for pod in fleet.pods if pod.serving and not is_draining(pod))
    due = [pod for pod in staying if is_due_for_recycling(pod, recycle, fleet.now)]
    return sorted(due, key=lambda pod: pod.created_at or 0.0)
