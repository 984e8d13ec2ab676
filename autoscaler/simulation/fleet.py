"""Simulated pods: who is seated where, which pods start, serve and go."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random


@dataclass(slots=True, eq=False)
class Pod:
    """One replica. number: in the order of creation. sessions: who is seated here."""

    number: int
    created_at: float
    ready_at: float
    ready: bool = False
    sessions: set[int] = field(default_factory=set)


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
            (pod for pod in self.pods.values() if pod.ready),
            key=lambda pod: len(pod.sessions),
            default=None,
        )
        if pod is None or len(pod.sessions) >= self._seats:
            return False
        pod.sessions.add(session)
        self._home[session] = pod
        self.seated += 1
        return True

    def leave(self, session: int) -> bool:
        """A session ends; False if it was cut before."""
        pod = self._home.pop(session, None)
        if pod is None:
            return False
        pod.sessions.discard(session)
        self.seated -= 1
        return True

    def remove(self, count: int, *, empty_first: bool) -> list[int]:
        """Take `count` pods away and answer the sessions that this cuts.

        Pods that still start go first, as the ReplicaSet does it. Then the empty ones, or with
        empty_first False any: the ReplicaSet does not look at sessions.
        """
        pods = list(self.pods.values())
        self._random.shuffle(pods)
        pods.sort(key=lambda pod: (pod.ready, empty_first and len(pod.sessions)))
        cut: list[int] = []
        for pod in pods[:count]:
            del self.pods[pod.number]
            cut += sorted(pod.sessions)
        for session in cut:
            self.leave(session)
        return cut
