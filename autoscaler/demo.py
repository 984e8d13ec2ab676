"""The whole line on one machine: real servers, real users, the real controller, no cluster.

Time runs `pace` times as fast for the policy as on the wall, so that a window of five minutes
passes in half a minute; processes and users are as slow as they really are.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from autoscaler.adapters.local import LocalCluster, Replica
from autoscaler.adapters.users import Crowd, User, app_page
from autoscaler.controller import PassResult, Recorder
from autoscaler.daemon import Daemon, Ports
from autoscaler.policy import Policy
from autoscaler.ports import PolicySource
from autoscaler.simulation.timeline import Change, StepRecorder, Timeline

READY_WITHIN = 30.0
LOAD_EVERY = 0.05
# Where the users stand at each share of the demo: empty, all there, still there, all gone.
CURVE = ((0.0, 0.0), (0.35, 1.0), (0.47, 1.0), (0.63, 0.0), (1.0, 0.0))


@dataclass(frozen=True, slots=True)
class Plan:
    """What the demo shows. seconds: on the wall; peak: users at the height of it."""

    app: Path
    policy: Policy
    seconds: float = 100.0
    pace: float = 10.0
    peak: int = 65
    seed: int = 1


class PacedClock:
    """Implements `ports.Clock`: starts now and runs `pace` times as fast."""

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self._began = time.monotonic()
        self._start = time.time()

    def now(self) -> float:
        """Unix seconds as the policy sees them."""
        return self._start + (time.monotonic() - self._began) * self._pace

    def stepped(self) -> float:
        """It runs by the monotonic clock, so it is never set."""
        return 0.0


class Load:
    """Brings users to the least busy ready replica and takes them away again, along a curve."""

    def __init__(
        self, crowd: Crowd, replicas: Callable[[], Sequence[Replica]], app: str, seed: int
    ) -> None:
        self._crowd = crowd
        self._replicas = replicas
        self._app = app
        self._random = random.Random(seed)  # noqa: S311 - chooses who leaves
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="load", daemon=True)
        self.wanted = 0

    def start(self) -> None:
        """Begin to follow `wanted`."""
        self._thread.start()

    def stop(self) -> None:
        """No more coming and going."""
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(LOAD_EVERY):
            present = self._crowd.present
            if len(present) < self.wanted:
                self._bring_one(present)
            elif len(present) > self.wanted:
                self._crowd.leave(self._random.choice(present))

    def _bring_one(self, present: Sequence[User]) -> None:
        ready = [each for each in self._replicas() if each.ready and each.note.routable]
        if not ready:
            return
        load = {replica.name: 0 for replica in ready}
        for user in present:
            if user.replica in load:
                load[user.replica] += 1
        choice = min(ready, key=lambda replica: load[replica.name])
        self._crowd.arrive(choice.name, app_page(choice.port, self._app))


class Film(Recorder):
    """A `controller.Recorder` that keeps the timeline for the report."""

    def __init__(self, start: float, seats: int, crowd: Crowd, cluster: LocalCluster) -> None:
        self._start = start
        self._seats = seats
        self._crowd = crowd
        self._cluster = cluster
        self._sessions, self._ready = StepRecorder(), StepRecorder()
        self._billed, self._desired = StepRecorder(), StepRecorder()
        self._refused: list[float] = []
        self.changes: list[Change] = []

    def record(self, result: PassResult) -> None:
        """One more picture."""
        replicas = self._cluster.replicas
        self._sessions.set(result.at, len(self._crowd.present))
        self._ready.set(result.at, sum(replica.ready for replica in replicas))
        self._billed.set(result.at, len(replicas))
        self._refused += [result.at] * (self._crowd.refused - len(self._refused))
        for outcome in result.outcomes:
            decision = outcome.decision
            if decision is None:
                continue
            self._desired.set(result.at, decision.desired)
            if outcome.changed:
                words = (decision.reason.value, decision.detail)
                self.changes.append(Change(result.at, decision.current, decision.desired, *words))

    def timeline(self, end: float) -> Timeline:
        """The film so far."""
        return Timeline(
            start=self._start,
            end=end,
            seats=self._seats,
            sessions=self._sessions.steps(),
            ready=self._ready.steps(),
            billed=self._billed.steps(),
            desired=self._desired.steps(),
            refused=tuple(self._refused),
            changes=tuple(self.changes),
        )


@dataclass(frozen=True, slots=True)
class Picture:
    """One tick, for the table. at: seconds of policy time since the start."""

    at: float
    wall: float
    users: int
    ready: int
    replicas: int
    result: PassResult


@dataclass(frozen=True, slots=True)
class Summary:
    """How it ended. served: users who had a session; cut: those whom the server dropped."""

    timeline: Timeline
    served: int
    refused: int
    cut: int
    replica_hours: float


def run(plan: Plan, policies: PolicySource, logs: Path, show: Callable[[Picture], None]) -> Summary:
    """Play the whole demo; ends every process that it started, also when it fails."""
    clock = PacedClock(plan.pace)
    cluster = LocalCluster(plan.policy.target.ref, plan.app, clock, logs, plan.pace)
    crowd = Crowd()
    film = Film(clock.now(), seats_of(plan.policy), crowd, cluster)
    daemon = Daemon(Ports(policies, cluster, cluster, cluster, clock), [film])
    load = Load(crowd, lambda: cluster.replicas, plan.app.stem, plan.seed)
    try:
        cluster.start(plan.policy.replicas.min)
        _wait_for_first(cluster)
        load.start()
        _play(plan, clock, daemon, load, crowd, cluster, show)
        load.stop()
        served = len(crowd.present) + crowd.left
        crowd.stop()
    finally:
        load.wanted = 0
        cluster.stop()
    timeline = film.timeline(clock.now())
    hours = _area(timeline) / 3600
    return Summary(timeline, served, crowd.refused, crowd.cut, hours)


def _play(
    plan: Plan,
    clock: PacedClock,
    daemon: Daemon,
    load: Load,
    crowd: Crowd,
    cluster: LocalCluster,
    show: Callable[[Picture], None],
) -> None:
    """Pass after pass, at the policy's interval on its own clock, until the time is over."""
    began, start = time.monotonic(), clock.now()
    tick = plan.policy.interval / plan.pace
    for number in range(int(plan.seconds / tick)):
        time.sleep(max(0.0, began + number * tick - time.monotonic()))
        wall = time.monotonic() - began
        if wall > plan.seconds:
            break
        load.wanted = round(plan.peak * _curve(wall / plan.seconds))
        result = daemon.run_once()
        if result is not None:
            replicas = cluster.replicas
            ready = sum(replica.ready for replica in replicas)
            at = clock.now() - start
            show(Picture(at, wall, len(crowd.present), ready, len(replicas), result))


def _curve(share: float) -> float:
    for (x0, y0), (x1, y1) in pairwise(CURVE):
        if share <= x1:
            return y0 + (y1 - y0) * (share - x0) / (x1 - x0)
    return 0.0


def _wait_for_first(cluster: LocalCluster) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while not any(replica.ready for replica in cluster.replicas):
        if time.monotonic() > deadline:
            return
        time.sleep(0.1)
        cluster.refresh()


def seats_of(policy: Policy) -> int:
    """Sessions that one pod holds; 20 where the policy does not say."""
    return policy.sessions.seats if policy.sessions else 20


def _area(timeline: Timeline) -> float:
    """Replica-seconds paid for, in policy time."""
    billed = timeline.billed
    ends = (*billed.times[1:], timeline.end)
    return sum(
        value * (end - at) for at, value, end in zip(billed.times, billed.values, ends, strict=True)
    )
