"""Replay a trace under a policy, with the same `decide` that runs in the cluster.

Sessions start and end, and pods become ready, at their own times; the policy decides at every tick.
What the simulation assumes about the application is in `Assumptions`, and is printed with the
results.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from math import inf
from random import Random
from typing import Any

from autoscaler.control.observation import required_queries, required_signals
from autoscaler.core.decide import decide, record_scaling
from autoscaler.core.now import Now
from autoscaler.core.schedule import bounds
from autoscaler.model import (
    Decision,
    Observation,
    Occupancy,
    PodState,
    Resources,
    Sample,
    State,
)
from autoscaler.policy import Policy
from autoscaler.simulation.fleet import RATE_WINDOW, SimulatedFleet, SimulatedPod
from autoscaler.simulation.timeline import Change, StepRecorder, Timeline
from autoscaler.simulation.trace import Trace

MEGABYTE = 1_000_000
# A pod requests one core and has a limit of 1 GiB (in milli-units, as everywhere in the core).
RESOURCES = Resources(1_000, 1_024**3 * 1_000, 1_024**3 * 1_000)
NODE = "node-1"
BASE_MEMORY = 200 * MEGABYTE
# The first pods have been ready for this long when the trace begins.
LONG_BEFORE = 86_400.0


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Assumptions about the application and its cluster.

    seats: sessions that one pod holds. tick: seconds between decisions. lead_time: seconds until a
    new pod is Ready. cpu_per_session: in cores. memory_per_session: in megabytes, in addition to
    200 per pod. seed: of the ReplicaSet's random choice of pods.
    """

    seats: int = 20
    tick: float = 5.0
    lead_time: float = 60.0
    cpu_per_session: float = 0.05
    memory_per_session: float = 40.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a simulation: the timeline, and how the sessions that got a seat ended.

    served: sessions that ended by themselves. cut: sessions that a scale-down ended. minutes_lost:
    the remaining time of those.
    """

    timeline: Timeline
    served: int = 0
    cut: int = 0
    minutes_lost: float = 0.0


class _EventKind(IntEnum):
    """The order of events at the same time: sessions end, pods become ready, sessions start."""

    END = 0
    READY = 1


def simulate(
    policy: Policy,
    trace: Trace,
    assumptions: Assumptions,
    progress: Callable[[float], None] = lambda _: None,
) -> Run:
    """Replay the trace under the policy. The same arguments give the same run.

    progress: called with the share that is done, from 0 to 1.
    """
    simulation = _Simulation(policy, trace, assumptions)
    length = max(trace.end - trace.start, 1.0)
    now = trace.start
    for count in range(int(length / assumptions.tick) + 1):
        now = trace.start + count * assumptions.tick
        simulation.advance(now)
        simulation.decide(now)
        if count % 256 == 0:
            progress((now - trace.start) / length)
    simulation.advance(trace.end)
    progress(1.0)
    return simulation.result()


class _Simulation:
    def __init__(self, policy: Policy, trace: Trace, assumptions: Assumptions) -> None:
        self._policy, self._trace, self._assumptions = policy, trace, assumptions
        self._signals, self._queries = required_signals(policy), required_queries(policy)
        random = Random(assumptions.seed)  # noqa: S311 - no secret
        self._fleet = SimulatedFleet(assumptions.seats, random)
        self._state: State | None = None
        self._events: list[tuple[float, _EventKind, int]] = []
        self._arrived = 0
        self._desired = bounds(policy, Now(trace.start)).min
        self._refused: list[float] = []
        self._changes: list[Change] = []
        self._served, self._cut, self._seconds_lost = 0, 0, 0.0
        self._series = [StepRecorder() for _ in range(4)]
        for _ in range(self._desired):
            early = trace.start - LONG_BEFORE
            self._fleet.mark_ready(self._fleet.create(early, early).number)
        self._record(trace.start)

    def advance(self, until: float) -> None:
        """Process all events up to and including `until`."""
        sessions = self._trace.sessions
        while True:
            event_at = self._events[0][0] if self._events else inf
            arrives_at = sessions[self._arrived].start if self._arrived < len(sessions) else inf
            at = min(event_at, arrives_at)
            if at > until:
                return
            if event_at <= arrives_at:
                self._handle(*heapq.heappop(self._events))
            else:
                self._arrive(self._arrived)
            self._record(at)

    def _handle(self, at: float, kind: _EventKind, number: int) -> None:
        if kind is _EventKind.END:
            self._served += self._fleet.leave(number, at)
        else:
            self._fleet.mark_ready(number)

    def _arrive(self, number: int) -> None:
        session = self._trace.sessions[number]
        self._arrived += 1
        if self._fleet.seat(number, session.start):
            heapq.heappush(self._events, (session.end, _EventKind.END, number))
        else:
            self._refused.append(session.start)

    def decide(self, now: float) -> None:
        """Run one pass, as the controller does: observe, decide, act, record."""
        decision, self._state = decide(self._policy, self._observe(now), self._state, now)
        for pod, marks in decision.drain.marks if decision.drain else ():
            self._fleet.pods[int(pod.uid)].marks = marks
        if decision.desired == decision.current:
            return
        self._act(decision, now)
        self._state = record_scaling(
            self._state, self._policy, decision.current, decision.desired, now
        )
        self._record(now)

    def _act(self, decision: Decision, now: float) -> None:
        self._desired = decision.desired
        self._changes.append(
            Change(now, decision.current, decision.desired, decision.reason, decision.detail)
        )
        for _ in range(decision.desired - decision.current):
            pod = self._fleet.create(now, now + self._assumptions.lead_time)
            heapq.heappush(self._events, (pod.ready_at, _EventKind.READY, pod.number))
        for session in self._fleet.remove(self._victims(decision), now):
            self._cut += 1
            self._seconds_lost += self._trace.sessions[session].end - now

    def _victims(self, decision: Decision) -> list[int]:
        if decision.drain is not None:
            return [int(pod.uid) for pod in decision.drain.remove]
        return self._fleet.blindly_chosen(max(0, decision.current - decision.desired))

    def _observe(self, now: float) -> Observation:
        total = Sample(self._fleet.seated * 1_000, now)
        return Observation(
            replicas=self._desired,
            status_replicas=len(self._fleet.pods),
            pods=tuple(self._pod_state(pod, now) for pod in self._fleet.pods.values()),
            external=dict.fromkeys(self._queries, total),
        )

    def _pod_state(self, pod: SimulatedPod, now: float) -> PodState:
        if not pod.ready:
            return _state(pod, phase="Pending", ready=None)
        wanted, count = self._signals, len(pod.sessions)
        since = pod.ready_at if pod.left_at is None else pod.left_at
        empty_for = None if count else now - since
        return _state(
            pod,
            ready_since=pod.ready_at,
            started_at=pod.created_at,
            occupancy=Occupancy(count, empty_for=empty_for) if pod.marks.cordon else None,
            sessions=Sample(count, now) if "sessions" in wanted else None,
            cpu=Sample(self._cpu(count), now, RATE_WINDOW) if "cpu" in wanted else None,
            memory=Sample(self._memory(count), now) if "memory" in wanted else None,
            **(_traffic(pod, now) if "arrivals" in wanted else {}),
        )

    def _cpu(self, sessions: int) -> int:
        return round(sessions * self._assumptions.cpu_per_session * 1_000)

    def _memory(self, sessions: int) -> int:
        used = BASE_MEMORY + sessions * self._assumptions.memory_per_session * MEGABYTE
        return round(used * 1_000)

    def _record(self, at: float) -> None:
        fleet = self._fleet
        now = (fleet.seated, fleet.ready, len(fleet.pods), self._desired)
        for recorder, value in zip(self._series, now, strict=True):
            recorder.set(at, value)

    def result(self) -> Run:
        """Return the run as recorded so far."""
        sessions, ready, billed, desired = (recorder.steps() for recorder in self._series)
        timeline = Timeline(
            self._trace.start,
            self._trace.end,
            self._assumptions.seats,
            sessions,
            ready,
            billed,
            desired,
            tuple(self._refused),
            tuple(self._changes),
        )
        return Run(timeline, self._served, self._cut, self._seconds_lost / 60.0)


def _traffic(pod: SimulatedPod, now: float) -> dict[str, Sample]:
    came, left = (Sample(round(1_000 * rate), now, RATE_WINDOW) for rate in pod.rates(now))
    return {"arrivals": came, "departures": left}


def _state(pod: SimulatedPod, **seen: Any) -> PodState:
    """Return a pod's state: the values of every pod, and those given for this one."""
    return PodState(
        name=f"pod-{pod.number}",
        uid=str(pod.number),
        created_at=pod.created_at,
        resources=RESOURCES,
        node=NODE,
        routable=pod.marks.routable,
        cordon=pod.marks.cordon,
        deletion_cost=pod.marks.cost,
        cost_is_ours=pod.marks.cost is not None,
        **seen,
    )
