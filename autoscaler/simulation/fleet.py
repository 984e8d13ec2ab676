"""Simulated pods and the sessions on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from autoscaler.core.drain.cleanup import SERVING
from autoscaler.model import PodMarks

# The exporter's CPU, arrivals and departures are rates over a minute.
RATE_WINDOW = 60.0


@dataclass(slots=True, eq=False)
class SimulatedPod:
    """One replica. number: in the order of creation. sessions: numbers of its sessions.

    left_at: time of the last departure. marks: the label and annotations that the drain set. came,
    left: times of the arrivals and departures within the window of the exporter's rates.
    """

    number: int
    created_at: float
    ready_at: float
    ready: bool = False
    sessions: set[int] = field(default_factory=set)
    left_at: float | None = None
    marks: PodMarks = SERVING
    came: deque[float] = field(default_factory=deque)
    left: deque[float] = field(default_factory=deque)

    def rates(self, now: float) -> tuple[float, float]:
        """Return arrivals and departures per second, over the last minute or the pod's age."""
        span = max(1.0, min(RATE_WINDOW, now - self.ready_at))
        return _recent(self.came, now) / span, _recent(self.left, now) / span


def _add_time(times: deque[float], now: float) -> None:
    _recent(times, now)
    times.append(now)


def _recent(times: deque[float], now: float) -> int:
    while times and times[0] <= now - RATE_WINDOW:
        times.popleft()
    return len(times)


class SimulatedFleet:
    """All pods of one target. Each holds up to `seats` sessions, which never move."""

    def __init__(self, seats: int, random: Random) -> None:
        self.pods: dict[int, SimulatedPod] = {}
        self.seated = 0
        self._seats = seats
        self._random = random
        self._created = 0
        self._home: dict[int, SimulatedPod] = {}

    @property
    def ready(self) -> int:
        """The number of ready pods."""
        return sum(pod.ready for pod in self.pods.values())

    def create(self, now: float, ready_at: float) -> SimulatedPod:
        """Create a pod, which takes sessions after `mark_ready`, and return it."""
        pod = SimulatedPod(self._created, now, ready_at)
        self._created += 1
        self.pods[pod.number] = pod
        return pod

    def mark_ready(self, number: int) -> None:
        """Let a pod take sessions, unless it has been removed in the meantime."""
        if number in self.pods:
            self.pods[number].ready = True

    def seat(self, session: int, now: float) -> bool:
        """Place a session on the ready pod with the fewest. Returns False if no seat is free."""
        pod = min(
            (pod for pod in self.pods.values() if pod.ready and pod.marks.routable),
            key=lambda pod: len(pod.sessions),
            default=None,
        )
        if pod is None or len(pod.sessions) >= self._seats:
            return False
        pod.sessions.add(session)
        _add_time(pod.came, now)
        self._home[session] = pod
        self.seated += 1
        return True

    def leave(self, session: int, now: float) -> bool:
        """End a session. Returns False if it had been cut before."""
        pod = self._home.pop(session, None)
        if pod is None:
            return False
        pod.sessions.discard(session)
        pod.left_at = now
        _add_time(pod.left, now)
        self.seated -= 1
        return True

    def remove(self, numbers: Iterable[int], now: float) -> list[int]:
        """Remove pods, and return the numbers of the sessions that this cuts."""
        cut = [number for pod in numbers for number in sorted(self.pods.pop(pod).sessions)]
        for session in cut:
            self.leave(session, now)
        return cut

    def blindly_chosen(self, count: int) -> list[int]:
        """Return the pods that a ReplicaSet would delete: starting ones first, then random ones."""
        pods = list(self.pods.values())
        self._random.shuffle(pods)
        pods.sort(key=lambda pod: pod.ready)
        return [pod.number for pod in pods[:count]]
