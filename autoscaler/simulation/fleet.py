"""Simulated pods and the sessions on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from random import Random

from autoscaler.core.drain.cleanup import SERVING
from autoscaler.model import Cause, PodMarks, PodState
from autoscaler.simulation.timeline import Phase, PodLife

# The exporter's CPU, arrivals and departures are rates over a minute.
RATE_WINDOW = 60.0


@dataclass(slots=True, eq=False)
class SimulatedPod:
    """One replica. number: in the order of creation. uid: random, as the API server's are.

    sessions: numbers of its sessions. left_at: time of the last departure. marks: the label and
    annotations that the drain set. state: as the policy saw the pod last; None if it has changed.
    rates_until: when the rates in it change by themselves. came, left: times of the arrivals and
    departures within the window of these rates. life: when its phases began.
    """

    number: int
    uid: str
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
    life: PodLife = field(init=False)

    def __post_init__(self) -> None:
        self.life = PodLife(self.number, [(self.created_at, self.phase)])

    @property
    def phase(self) -> Phase:
        """What the pod is doing."""
        if not self.ready:
            return Phase.STARTING
        if self.marks.cordon is not None and self.marks.cordon.cause is not Cause.FULL:
            return Phase.DRAINING
        return Phase.BUSY if self.sessions else Phase.SPARE

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
    """All pods of one target, each with seats for `seats` sessions, which never move.

    seated: sessions on all pods. crowded: of these, sessions on pods whose seats are all taken by
    others. phases: number of pods in each phase. lives: of all pods that ever were.
    """

    def __init__(self, seats: int, random: Random) -> None:
        self.pods: dict[str, SimulatedPod] = {}
        self.seated, self.crowded = 0, 0
        self.phases = dict.fromkeys(Phase, 0)
        self.lives: list[PodLife] = []
        self._seats = seats
        self._random = random
        self._created = 0
        self._home: dict[int, SimulatedPod] = {}

    def create(self, now: float, ready_at: float) -> SimulatedPod:
        """Create a pod, which takes sessions after `mark_ready`, and return it."""
        uid = f"{self._random.getrandbits(64):016x}"
        pod = SimulatedPod(self._created, uid, now, ready_at)
        self._created += 1
        self.pods[uid] = pod
        self.phases[Phase.STARTING] += 1
        self.lives.append(pod.life)
        return pod

    def mark_ready(self, pod: SimulatedPod) -> None:
        """Let a pod take sessions, unless it has been removed in the meantime."""
        if pod.uid in self.pods:
            pod.ready = True
            self._changed(pod, pod.ready_at)

    def set_marks(self, uid: str, marks: PodMarks, now: float) -> None:
        """Set the label and annotations of a pod."""
        self.pods[uid].marks = marks
        self._changed(self.pods[uid], now)

    @property
    def open_pods(self) -> list[SimulatedPod]:
        """The pods that take new sessions, in the order of their creation."""
        return [pod for pod in self.pods.values() if pod.ready and pod.marks.routable]

    def seat(self, session: int, pod: SimulatedPod, now: float) -> None:
        """Place a session on a pod."""
        self.crowded += len(pod.sessions) >= self._seats
        pod.sessions.add(session)
        pod.life.served += 1
        self._changed(pod, now)
        _add_time(pod.came, now)
        self._home[session] = pod
        self.seated += 1

    def leave(self, session: int, now: float) -> bool:
        """End a session. Returns False if it is on no pod, because it was cut."""
        pod = self._home.pop(session, None)
        if pod is None:
            return False
        self.crowded -= len(pod.sessions) > self._seats
        pod.sessions.discard(session)
        pod.left_at = now
        if pod.uid in self.pods:
            self._changed(pod, now)
        _add_time(pod.left, now)
        self.seated -= 1
        return True

    def remove(self, uids: Iterable[str], now: float) -> list[int]:
        """Remove pods, and return the numbers of the sessions that this cuts."""
        removed = [self.pods.pop(uid) for uid in uids]
        for pod in removed:
            self.phases[pod.life.phase] -= 1
            pod.life.ended_at = now
        cut = [session for pod in removed for session in sorted(pod.sessions)]
        for session in cut:
            self.leave(session, now)
        return cut

    def _changed(self, pod: SimulatedPod, now: float) -> None:
        """Forget how a policy saw the pod, and note its phase if that is another one now."""
        pod.state = None
        phase = pod.phase
        if phase is not pod.life.phase:
            self.phases[pod.life.phase] -= 1
            self.phases[phase] += 1
            pod.life.phases.append((now, phase))
