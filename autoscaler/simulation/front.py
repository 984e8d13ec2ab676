"""What is in front of the pods: it chooses one for each new session, unless all are full."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autoscaler.simulation.fleet import SimulatedPod


class Placement(StrEnum):
    """The pod that a new session goes to, of those that are Ready and not cordoned.

    SERVICE: a random one, as kube-proxy does. LEASTCONN: the one with the fewest sessions.
    ROUND_ROBIN: one after the other. PACKED: the one with the most sessions.
    """

    SERVICE = "service"
    LEASTCONN = "leastconn"
    ROUND_ROBIN = "round-robin"
    PACKED = "packed"


class WhenFull(StrEnum):
    """What happens to a user who finds no free seat.

    REFUSE: the user goes away. WAIT: the user waits in a queue until a seat is free, as at a proxy
    that limits the connections of each server. OVERFILL: the user gets a pod that has more sessions
    than seats then; a Service and a proxy without limits do not know of seats at all.
    """

    REFUSE = "refuse"
    WAIT = "wait"
    OVERFILL = "overfill"


class Front:
    """Chooses the pod of each new session. seats: of a pod."""

    def __init__(
        self, placement: Placement, when_full: WhenFull, seats: int, random: Random
    ) -> None:
        self._placement = placement
        self._knows_seats = when_full is not WhenFull.OVERFILL
        self._seats = seats
        self._random = random
        self._last = -1

    def choose(self, pods: Sequence[SimulatedPod]) -> SimulatedPod | None:
        """Return the pod for a new session, or None if none may have it.

        pods: all that take new sessions, in the order of their creation.
        """
        if self._knows_seats or self._placement is Placement.PACKED:
            free = [pod for pod in pods if len(pod.sessions) < self._seats]
            pods = free if free or self._knows_seats else pods
        if not pods:
            return None
        if self._placement is Placement.SERVICE:
            return self._random.choice(pods)
        if self._placement is Placement.ROUND_ROBIN:
            return self._next(pods)
        if self._placement is Placement.PACKED and len(pods[0].sessions) < self._seats:
            return max(pods, key=lambda pod: len(pod.sessions))
        return min(pods, key=lambda pod: len(pod.sessions))

    def _next(self, pods: Sequence[SimulatedPod]) -> SimulatedPod:
        chosen = next((pod for pod in pods if pod.number > self._last), pods[0])
        self._last = chosen.number
        return chosen
