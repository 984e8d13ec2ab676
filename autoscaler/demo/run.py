"""Run the demo: real servers, simulated users and the real controller on one machine.

For the policy, time runs `pace` times as fast as real time, so that a window of five minutes passes
in half a minute. Processes and users keep their real speed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from autoscaler.control.pass_result import PassResult, Recorder
from autoscaler.daemon import Daemon, Ports
from autoscaler.demo.clients import ClientPool, User, app_page
from autoscaler.demo.local_cluster import LocalCluster, Replica
from autoscaler.policy import Policy
from autoscaler.ports import PolicySource
from autoscaler.simulation.timeline import Change, StepRecorder, Timeline

READY_WITHIN = 30.0
LOAD_EVERY = 0.05
# Seconds of real time between two passes: each asks processes that are not as fast as the policy's
# time, and share this machine with their servers.
LEAST_PASS = 0.5
# Share of the peak's users at shares of the demo's time: they come, stay, and leave. A few stay
# longer, so that pods are seen waiting for them.
CURVE = ((0.0, 0.0), (0.28, 1.0), (0.36, 1.0), (0.46, 0.12), (0.8, 0.12), (0.86, 0.0), (1.0, 0.0))


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of a demo.

    seconds: duration in real time. pace: speed of the policy's time. peak: number of users.
    """

    app: Path
    policy: Policy
    seconds: float = 115.0
    pace: float = 10.0
    peak: int = 65
    seed: int = 1


class PacedClock:
    """Implements `ports.Clock`: starts at the current time and runs `pace` times as fast."""

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self._began = time.monotonic()
        self._start = time.time()

    def now(self) -> float:
        """Return the policy's time in Unix seconds."""
        return self._start + (time.monotonic() - self._began) * self._pace

    def steady(self) -> float:
        """Return real seconds, for timeouts and the age of answers."""
        return time.monotonic()

    def stepped(self) -> float:
        """Return 0: this clock follows the monotonic clock, which is never set."""
        return 0.0

    def ahead(self) -> float:
        """Return 0: there is no other clock."""
        return 0.0


class Load:
    """Adds users to the ready replica with the fewest, and removes random ones, up to `wanted`."""

    def __init__(
        self, clients: ClientPool, replicas: Callable[[], Sequence[Replica]], app: str, seed: int
    ) -> None:
        self._clients = clients
        self._replicas = replicas
        self._app = app
        self._random = random.Random(seed)  # noqa: S311 - chooses who leaves
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="load", daemon=True)
        self.wanted = 0

    def start(self) -> None:
        """Start to follow `wanted`."""
        self._thread.start()

    def stop(self) -> None:
        """Stop adding and removing users."""
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(LOAD_EVERY):
            present = self._clients.present
            if len(present) < self.wanted:
                self._bring_one(present)
            elif len(present) > self.wanted:
                self._clients.leave(self._random.choice(present))

    def _bring_one(self, present: Sequence[User]) -> None:
        ready = [each for each in self._replicas() if each.ready and each.marks.routable]
        if not ready:
            return
        load = {replica.name: 0 for replica in ready}
        for user in present:
            if user.replica in load:
                load[user.replica] += 1
        choice = min(ready, key=lambda replica: load[replica.name])
        self._clients.arrive(choice.name, app_page(choice.port, self._app))


class TimelineRecorder(Recorder):
    """A `Recorder` that records the timeline for the report, in policy time from second 0."""

    def __init__(
        self, start: float, seats: int, clients: ClientPool, cluster: LocalCluster
    ) -> None:
        self._start = start
        self._seats = seats
        self._clients = clients
        self._cluster = cluster
        self._sessions, self._ready = StepRecorder(), StepRecorder()
        self._billed, self._desired = StepRecorder(), StepRecorder()
        self._refused: list[float] = []
        self.changes: list[Change] = []

    def record(self, result: PassResult) -> None:
        """Record one pass."""
        replicas, at = self._cluster.replicas, result.at - self._start
        self._sessions.set(at, len(self._clients.present))
        self._ready.set(at, sum(replica.ready for replica in replicas))
        self._billed.set(at, len(replicas))
        self._refused += [at] * (self._clients.refused - len(self._refused))
        for outcome in result.outcomes:
            decision = outcome.decision
            if decision is None:
                continue
            self._desired.set(at, decision.desired)
            if outcome.changed:
                words = (decision.reason.value, decision.detail)
                self.changes.append(Change(at, decision.current, decision.desired, *words))

    def timeline(self, end: float) -> Timeline:
        """Return the timeline until then, in Unix seconds of the demo's clock."""
        return Timeline(
            start=0.0,
            end=end - self._start,
            seats=self._seats,
            sessions=self._sessions.steps(),
            ready=self._ready.steps(),
            billed=self._billed.steps(),
            desired=self._desired.steps(),
            refused=tuple(self._refused),
            changes=tuple(self.changes),
        )


@dataclass(frozen=True, slots=True)
class DemoTick:
    """The state after one pass. at, wall: seconds since the start, in policy and in real time."""

    at: float
    wall: float
    sessions: int
    ready: int
    replicas: int
    result: PassResult


@dataclass(frozen=True, slots=True)
class Summary:
    """The result. served: users who got a session. cut: sessions that the server ended."""

    timeline: Timeline
    served: int
    refused: int
    cut: int
    replica_hours: float


def run_demo(
    plan: Plan, policies: PolicySource, logs: Path, show: Callable[[DemoTick], None]
) -> Summary:
    """Run the whole demo. Ends every process that it started, even if it fails.

    logs: folder for the output of the servers. show: called after each pass.
    """
    clock = PacedClock(plan.pace)
    cluster = LocalCluster(plan.policy.target.ref, plan.app, clock, logs, plan.pace)
    clients = ClientPool()
    recorder = TimelineRecorder(clock.now(), seats_of(plan.policy), clients, cluster)
    daemon = Daemon(Ports(policies, cluster, cluster, cluster, clock), [recorder])
    load = Load(clients, lambda: cluster.replicas, plan.app.stem, plan.seed)
    try:
        cluster.start(plan.policy.replicas.min)
        _wait_for_first(cluster)
        load.start()
        _run_passes(plan, clock, daemon, load, clients, cluster, show)
        load.stop()
        served = len(clients.present) + clients.left
        clients.stop()
    finally:
        load.wanted = 0
        cluster.stop()
    timeline = recorder.timeline(clock.now())
    hours = _area(timeline) / 3600
    return Summary(timeline, served, clients.refused, clients.cut, hours)


def _run_passes(
    plan: Plan,
    clock: PacedClock,
    daemon: Daemon,
    load: Load,
    clients: ClientPool,
    cluster: LocalCluster,
    show: Callable[[DemoTick], None],
) -> None:
    """Run one pass after another, at the policy's interval in its own time, until the end."""
    began, start = time.monotonic(), clock.now()
    tick = max(LEAST_PASS, plan.policy.interval / plan.pace)
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
            show(DemoTick(at, wall, len(clients.present), ready, len(replicas), result))


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
    """Return the number of sessions that one pod holds; 20 if the policy has no seats."""
    return policy.sessions.seats if policy.sessions else 20


def _area(timeline: Timeline) -> float:
    """Return the billed replica-seconds in policy time."""
    billed = timeline.billed
    ends = (*billed.times[1:], timeline.end)
    return sum(
        value * (end - at) for at, value, end in zip(billed.times, billed.values, ends, strict=True)
    )
