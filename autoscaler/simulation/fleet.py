"""Simulated pods: who is seated where, which pods start, serve and go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from autoscaler.core.tidying import SERVING
from autoscaler.model import PodNote


@dataclass(slots=True, eq=False)
class Pod:
    """One replica. number: in the order of creation. sessions: who is seated here.

    left_at: when somebody last left. note: what the drain wrote on it.
    """

    number: int
    created_at: float
    ready_at: float
    ready: bool = False
    sessions: set[int] = field(default_factory=set)
    left_at: float | None = None
    note: PodNote = SERVING


class Fleet:
    """All pods of one target; each holds up to `seats` sessions, which never move."""

    def __init__(self, seats: int, random: Random) -> None:
        self.pods: dict[int, Pod] = {}
        self.seated = 0
        self._seats = seats
        self._random = random
        self._created = 0
        self._home: dict[int, Pod] = {}

    @property
    def ready(self) -> int:
        """How many pods take sessions."""
        return sum(pod.ready for pod in self.pods.values())

    def create(self, now: float, ready_at: float) -> Pod:
        """A new pod; it takes sessions once `mark_ready` was called."""
        pod = Pod(self._created, now, ready_at)
        self._created += 1
        self.pods[pod.number] = pod
        return pod

    def mark_ready(self, number: int) -> None:
        """The pod has started; one that was removed meanwhile stays gone."""
        if number in self.pods:
            self.pods[number].ready = True

    def seat(self, session: int) -> bool:
        """Place a session on the Ready pod with the fewest; False if every seat is taken."""
        pod = min(
            (pod for pod in self.pods.values() if pod.ready and pod.note.routable),
            key=lambda pod: len(pod.sessions),
            default=None,
        )
        if pod is None or len(pod.sessions) >= self._seats:
            return False
        pod.sessions.add(session)
        self._home[session] = pod
        self.seated += 1
        return True

    def leave(self, session: int, now: float) -> bool:
        """A session ends; False if it was cut before."""
        pod = self._home.pop(session, None)
        if pod is None:
            return False
        pod.sessions.discard(session)
        pod.left_at = now
        self.seated -= 1
        return True

    def remove(self, numbers: Iterable[int], now: float) -> list[int]:
        """Take these pods away and answer the sessions that this cuts."""
        cut = [number for pod in numbers for number in sorted(self.pods.pop(pod).sessions)]
        for session in cut:
            self.leave(session, now)
        return cut

    def blindly_chosen(self, count: int) -> list[int]:
        """Pods as a ReplicaSet takes them: those that still start, then any, full or not."""
        pods = list(self.pods.values())
        self._random.shuffle(pods)
        pods.sort(key=lambda pod: pod.ready)
        return [pod.number for pod in pods[:count]]
