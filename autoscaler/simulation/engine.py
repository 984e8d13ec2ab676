"""Replay a trace under a policy, with the same `decide` that runs in the cluster.

Sessions start and end, and pods become ready, at their own times; the policy decides at every tick.
What the simulation assumes about the application is in `Assumptions`, and is printed with the
results.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from math import inf
from random import Random

from autoscaler.core.decide import decide, record_scaling
from autoscaler.core.now import Now
from autoscaler.core.schedule import bounds
from autoscaler.model import Decision, State
from autoscaler.policy import Policy
from autoscaler.simulation.fleet import SimulatedFleet
from autoscaler.simulation.seen import Observer
from autoscaler.simulation.timeline import Change, StepRecorder, Timeline
from autoscaler.simulation.trace import Trace

# The first pods have been ready for this long when the trace begins.
LONG_BEFORE = 86_400.0
# Progress is told after so many ticks.
TICKS_SHOWN = 256


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
    the remaining time of those. decisions: number of ticks at which the policy had to decide anew.
    """

    timeline: Timeline
    served: int = 0
    cut: int = 0
    minutes_lost: float = 0.0
    decisions: int = field(default=0, compare=False)


class _EventKind(IntEnum):
    """The order of events at the same time: sessions end, pods become ready, sessions start."""

    END = 0
    READY = 1


def simulate(
    policy: Policy,
    trace: Trace,
    assumptions: Assumptions,
    progress: Callable[[float], None] = lambda _: None,
    *,
    every_tick: bool = False,
) -> Run:
    """Replay the trace under the policy. The same arguments give the same run.

    progress: called with the share that is done, from 0 to 1. every_tick: whether to decide also at
    ticks at which the decision is known to be the same, which takes longer and changes nothing.
    """
    simulation = _Simulation(policy, trace, assumptions)
    length = max(trace.end - trace.start, 1.0)
    ticks = range(int(length / assumptions.tick) + 1)

    def time_of(tick: int) -> float:
        return trace.start + tick * assumptions.tick

    tick, shown = 0, -TICKS_SHOWN
    while tick in ticks:
        simulation.advance(time_of(tick))
        simulation.decide(time_of(tick))
        if tick >= shown + TICKS_SHOWN:
            progress((time_of(tick) - trace.start) / length)
            shown = tick
        tick += 1
        if not every_tick and tick in ticks and time_of(tick) < simulation.holds_until:
            tick = bisect_left(ticks, simulation.holds_until, lo=tick, key=time_of)
            simulation.decide_the_same(time_of(tick - 1))
    simulation.advance(trace.end)
    progress(1.0)
    return simulation.result()


class _Simulation:
    def __init__(self, policy: Policy, trace: Trace, assumptions: Assumptions) -> None:
        self._policy, self._trace, self._assumptions = policy, trace, assumptions
        self._observer = Observer(
            policy,
            cpu_per_session=assumptions.cpu_per_session,
            memory_per_session=assumptions.memory_per_session,
        )
        random = Random(assumptions.seed)  # noqa: S311 - no secret
        self._fleet = SimulatedFleet(assumptions.seats, random)
        self._state = State()
        self._holds_until = self._next_event_at = trace.start
        self._events: list[tuple[float, _EventKind, int]] = []
        self._arrived = 0
        self._desired = bounds(policy, Now(trace.start)).min
        self._refused: list[float] = []
        self._changes: list[Change] = []
        self._served, self._cut, self._seconds_lost, self._decisions = 0, 0, 0.0, 0
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
                self._next_event_at = at
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
        self._decisions += 1
        observed = self._observer.observe(self._fleet, self._desired, now)
        decision, self._state = decide(self._policy, observed, self._state, now)
        marks = decision.drain.marks if decision.drain else ()
        for pod, pod_marks in marks:
            self._fleet.set_marks(int(pod.uid), pod_marks)
        self._holds_until = now
        if decision.desired == decision.current:
            if not marks:
                same_until = self._observer.same_until(self._fleet)
                self._holds_until = min(decision.holds_until, same_until)
            return
        self._act(decision, now)
        self._state = record_scaling(
            self._state, self._policy, decision.current, decision.desired, now
        )
        self._record(now)

    @property
    def holds_until(self) -> float:
        """The time until when each further pass would see and decide the same."""
        return min(self._holds_until, self._next_event_at)

    def decide_the_same(self, until: float) -> None:
        """Do what further passes until this time do that see and decide the same: remember that."""
        self._state = self._state.again(until)

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
        lost = self._seconds_lost / 60.0
        return Run(timeline, self._served, self._cut, lost, self._decisions)
