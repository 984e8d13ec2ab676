"""Simulated pods and the sessions on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from random import Random

from autoscaler.core.drain.cleanup import SERVING
from autoscaler.model import PodMarks, PodState

# The exporter's CPU, arrivals and departures are rates over a minute.
RATE_WINDOW = 60.0


@dataclass(slots=True, eq=False)
class SimulatedPod:
    """One replica. number: in the order of creation. sessions: numbers of its sessions.

    left_at: time of the last departure. marks: the label and annotations that the drain set. state:
    as the policy saw the pod last; None if it has changed. rates_until: when the rates in it change
    by themselves. came, left: times of the arrivals and departures within their window.
    """

    number: int
    created_at: float
    ready_at: float
    ready: bool = False
    sessions: set[int] = field(default_factory=set)
    left_at: float | None = None
    marks: PodMarks = SERVING
    state: PodState | None = None
    rates_until: float = inf
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
    """All pods of one target. Each holds up to `seats` sessions, which never move.

    seated: sessions on all pods. ready: number of ready pods.
    """

    def __init__(self, seats: int, random: Random) -> None:
        self.pods: dict[int, SimulatedPod] = {}
        self.seated, self.ready = 0, 0
        self._seats = seats
        self._random = random
        self._created = 0
        self._home: dict[int, SimulatedPod] = {}

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
            self.pods[number].state = None
            self.ready += 1

    def set_marks(self, number: int, marks: PodMarks) -> None:
        """Set the label and annotations of a pod."""
        self.pods[number].marks = marks
        self.pods[number].state = None

    def seat(self, session: int, now: float) -> bool:
        """Place a session on the ready pod with the fewest. Returns False if no seat is free."""
        open_pods = [pod for pod in self.pods.values() if pod.ready and pod.marks.routable]
        pod = min(open_pods, key=lambda pod: len(pod.sessions), default=None)
        if pod is None or len(pod.sessions) >= self._seats:
            return False
        pod.sessions.add(session)
        pod.state = None
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
        pod.state = None
        pod.left_at = now
        _add_time(pod.left, now)
        self.seated -= 1
        return True

    def remove(self, numbers: Iterable[int], now: float) -> list[int]:
        """Remove pods, and return the numbers of the sessions that this cuts."""
        removed = [self.pods.pop(number) for number in numbers]
        self.ready -= sum(pod.ready for pod in removed)
        cut = [session for pod in removed for session in sorted(pod.sessions)]
        for session in cut:
            self.leave(session, now)
        return cut

    def blindly_chosen(self, count: int) -> list[int]:
        """Return the pods that a ReplicaSet would delete: starting ones first, then random ones."""
        pods = list(self.pods.values())
        self._random.shuffle(pods)
        pods.sort(key=lambda pod: pod.ready)
        return [pod.number for pod in pods[:count]]
