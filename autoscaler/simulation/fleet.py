"""Simulated pods and the sessions on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from random import Random

from autoscaler.core.drain.cleanup import SERVING
from autoscaler.core.now import MARGIN
from autoscaler.model import Cause, PodMarks, PodState
from autoscaler.simulation.scrapes import Scrape, ScrapeTimes
from autoscaler.simulation.timeline import Phase, PodLife

# The exporter's CPU, arrivals and departures are rates over a minute.
RATE_WINDOW = 60.0
UNSPREAD = ScrapeTimes()


@dataclass(slots=True, eq=False)
class SimulatedPod:
    """One replica. number: in the order of creation. uid: random, as the API server's are.

    sessions: numbers of its sessions, with the time at which each came. opening: of those whose
    page has no connection yet, with the time at which it will. left_at: time of the last departure.
    marks: the label and annotations that the drain set. times: when it is scraped, and scraped:
    what the last scrape saw. state: as the policy saw the pod last; None if it has changed.
    news_at: when it may be seen otherwise next. came, left: times of the arrivals and departures
    within the window of the rates. life: when its phases began.
    """

    number: int
    uid: str
    created_at: float
    ready_at: float
    ready: bool = False
    sessions: dict[int, float] = field(default_factory=dict)
    opening: dict[int, float] = field(default_factory=dict)
    left_at: float | None = None
    marks: PodMarks = SERVING
    times: ScrapeTimes = UNSPREAD
    scraped: Scrape | None = None
    state: PodState | None = None
    news_at: float = -inf
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
        if self.is_draining:
            return Phase.DRAINING if self.sessions else Phase.DRAINED
        if not self.sessions:
            return Phase.SPARE
        return Phase.RESERVE if self._is_cordoned_for(Cause.RESERVE) else Phase.BUSY

    @property
    def is_draining(self) -> bool:
        """Whether the pod is to be removed, so that its sidecar is asked in every pass."""
        return self._is_cordoned_for(Cause.SCALE_DOWN)

    def _is_cordoned_for(self, cause: Cause) -> bool:
        return self.marks.cordon is not None and self.marks.cordon.cause is cause

    @property
    def connected(self) -> int:
        """How many of its sessions have a connection."""
        return len(self.sessions) - len(self.opening)

    @property
    def fills_window(self) -> bool:
        """Whether the rates of the last scrape are over less than their window."""
        return self.scraped is not None and self.scraped.at < self.ready_at + RATE_WINDOW

    def scrape(self, at: float) -> None:
        """Let Prometheus scrape the pod at a time since which nothing has changed.

        A pod has no samples before it is Ready.
        """
        last = self.scraped
        if not self.ready or at < self.ready_at or (last is not None and at <= last.at):
            return
        span = max(1.0, min(RATE_WINDOW, at - self.ready_at))
        came, left = (_recent(times, at) / span for times in (self.came, self.left))
        seated = (since for each, since in self.sessions.items() if each not in self.opening)
        self.scraped = Scrape(at, self.connected, came, left, min(seated, default=None))
        if last is None or self.fills_window or not self.scraped.says_the_same(last):
            self.state = None


def _recent(times: deque[float], now: float) -> int:
    while times and times[0] <= now - RATE_WINDOW:
        times.popleft()
    return len(times)


class SimulatedFleet:
    """All pods of one target, each with seats for `seats` sessions, which never move.

    seated: sessions on all pods. crowded: of these, sessions on pods whose seats are all taken by
    others. phases: number of pods in each phase. lives: of all pods that ever were. news_at: when
    a policy may next see something of it that it has not seen.
    """

    def __init__(self, seats: int, scrape_interval: float, random: Random) -> None:
        self.pods: dict[str, SimulatedPod] = {}
        self.seated, self.crowded = 0, 0
        self.phases = dict.fromkeys(Phase, 0)
        self.lives: list[PodLife] = []
        self.news_at = -inf
        self._seats = seats
        self._scrape_interval = scrape_interval
        self._random = random
        self._created = 0
        self._home: dict[int, SimulatedPod] = {}

    def create(self, now: float, ready_at: float) -> SimulatedPod:
        """Create a pod, which takes sessions after `mark_ready`, and return it."""
        uid = self._random.getrandbits(64)
        times = ScrapeTimes(self._scrape_interval, uid / 2**64 * self._scrape_interval)
        pod = SimulatedPod(self._created, f"{uid:016x}", now, ready_at, times=times)
        self._created += 1
        self.pods[pod.uid] = pod
        self.phases[Phase.STARTING] += 1
        self.news_at = min(self.news_at, now)
        self.lives.append(pod.life)
        return pod

    def mark_ready(self, pod: SimulatedPod) -> None:
        """Let a pod take sessions, unless it has been removed in the meantime."""
        if pod.uid in self.pods:
            pod.ready = True
            self._changed_openly(pod, pod.ready_at)

    def set_marks(self, uid: str, marks: PodMarks, now: float) -> None:
        """Set the label and annotations of a pod."""
        self.pods[uid].marks = marks
        self._changed_openly(self.pods[uid], now)

    @property
    def open_pods(self) -> list[SimulatedPod]:
        """The pods that take new sessions, in the order of their creation."""
        return [pod for pod in self.pods.values() if pod.ready and pod.marks.routable]

    def seat(self, session: int, pod: SimulatedPod, now: float, connects_at: float) -> None:
        """Place a session on a pod. connects_at: when its page opens the connection."""
        pod.scrape(pod.times.before(now))
        self.crowded += len(pod.sessions) >= self._seats
        pod.sessions[session] = now
        if connects_at > now:
            pod.opening[session] = connects_at
        pod.life.served += 1
        pod.came.append(now)
        self._home[session] = pod
        self.seated += 1
        self._changed(pod, now)

    def connect(self, session: int, now: float) -> None:
        """Open the connection of a session that was placed so that it opens now, if it is there."""
        pod = self._home.get(session)
        if pod is not None and pod.opening.get(session) == now:
            pod.scrape(pod.times.before(now))
            del pod.opening[session]
            self._changed(pod, now)

    def leave(self, session: int, now: float) -> bool:
        """End a session. Returns False if it is on no pod, because it was cut."""
        pod = self._home.pop(session, None)
        if pod is None:
            return False
        pod.scrape(pod.times.before(now))
        self.crowded -= len(pod.sessions) > self._seats
        pod.sessions.pop(session, None)
        pod.opening.pop(session, None)
        pod.left_at = now
        pod.left.append(now)
        self.seated -= 1
        if pod.uid in self.pods:
            self._changed(pod, now)
        return True

    def remove(self, uids: Iterable[str], now: float) -> list[int]:
        """Remove pods, and return the numbers of the sessions that this cuts."""
        removed = [self.pods.pop(uid) for uid in uids]
        self.news_at = min(self.news_at, now)
        for pod in removed:
            self.phases[pod.life.phase] -= 1
            pod.life.ended_at = now
        cut = [session for pod in removed for session in sorted(pod.sessions)]
        for session in cut:
            self.leave(session, now)
        return cut

    def _changed(self, pod: SimulatedPod, now: float) -> None:
        """Note that sessions came or left: the next scrape sees it, and the sidecar knows it."""
        if pod.is_draining:
            self._changed_openly(pod, now)
            return
        self._note_news(pod, pod.times.following(now) - MARGIN)
        self._note_phase(pod, now)

    def _changed_openly(self, pod: SimulatedPod, now: float) -> None:
        """Note a change that the API server or the sidecar of a cordoned pod tells at once."""
        pod.state = None
        self._note_news(pod, now)
        self._note_phase(pod, now)

    def _note_news(self, pod: SimulatedPod, at: float) -> None:
        pod.news_at = min(pod.news_at, at)
        self.news_at = min(self.news_at, at)

    def _note_phase(self, pod: SimulatedPod, now: float) -> None:
        phase = pod.phase
        if phase is not pod.life.phase:
            self.phases[pod.life.phase] -= 1
            self.phases[phase] += 1
            pod.life.phases.append((now, phase))
