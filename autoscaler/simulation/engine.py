"""Replay a trace under a policy, with the same `decide` that runs in the cluster.

Sessions start and end, and pods become ready, at their own times; the policy decides at every tick.
What the simulation assumes about the application is in `Assumptions`, and is printed with the
results.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from math import exp, inf, log
from random import Random

from autoscaler.core.decide import decide, record_scaling
from autoscaler.core.drain.deletion_order import deletion_order
from autoscaler.core.now import Now
from autoscaler.core.schedule import effective
from autoscaler.core.staleness import fresh_for
from autoscaler.model import Decision, Observation, State
from autoscaler.policy import Policy
from autoscaler.simulation.fleet import RATE_WINDOW, SimulatedFleet, SimulatedPod
from autoscaler.simulation.front import Front, Placement, WhenFull
from autoscaler.simulation.seen import Observer
from autoscaler.simulation.timeline import Change, Phase, StepRecorder, Timeline
from autoscaler.simulation.trace import Trace

# The first pods have been ready for this long when the trace begins.
LONG_BEFORE = 86_400.0
# 95 % of a normal distribution are below so many standard deviations.
Z_95 = 1.645
# Progress is told after so many ticks.
TICKS_SHOWN = 256


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Assumptions about the application, its cluster, and what is in front of it.

    seats: sessions that one pod holds. tick: seconds between decisions. lead_time: seconds until a
    new pod is Ready, and slow_lead_time: for the slowest 5 % of them (None: all take as long).
    cpu_per_session: in cores. cpu_window: seconds over which the CPU of a pod is measured.
    memory_per_session: in megabytes, in addition to 200 per pod. scrape_interval: seconds between
    two scrapes of a pod (0: a pass sees what is so now). page_load: seconds from the request of a
    page, which takes a seat, to its connection, which is counted. returns_after: seconds after
    which a user whose session was cut is back. seed: of all that is random.
    """

    seats: int = 20
    tick: float = 5.0
    lead_time: float = 60.0
    slow_lead_time: float | None = None
    cpu_per_session: float = 0.05
    cpu_window: float = RATE_WINDOW
    memory_per_session: float = 40.0
    placement: Placement = Placement.LEASTCONN
    when_full: WhenFull = WhenFull.REFUSE
    scrape_interval: float = 15.0
    page_load: float = 2.0
    returns_after: float = 5.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a simulation: the timeline, and how the sessions that got a seat ended.

    served: sessions that ended by themselves. cut: how often a scale-down ended a session, whose
    user comes back. minutes_lost: the remaining time of those sessions. waited: users who had to
    wait for a seat. decisions: number of ticks at which the policy had to decide anew.
    """

    timeline: Timeline
    served: int = 0
    cut: int = 0
    minutes_lost: float = 0.0
    waited: int = 0
    decisions: int = field(default=0, compare=False)


class _EventKind(IntEnum):
    """The order of events at the same time.

    Sessions end, pods get Ready, users whose session was cut come back, and pages connect.
    """

    END = 0
    READY = 1
    RETURN = 2
    CONNECT = 3


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
        now = time_of(tick)
        simulation.advance(now)
        if every_tick or now >= simulation.holds_until:
            simulation.decide(now)
        else:
            simulation.decide_the_same(now)
        if tick >= shown + TICKS_SHOWN:
            progress((now - trace.start) / length)
            shown = tick
        tick += 1
        quiet_until = min(simulation.holds_until, simulation.next_event_at)
        if not every_tick and tick in ticks and time_of(tick) < quiet_until:
            tick = bisect_left(ticks, quiet_until, lo=tick, key=time_of)
            simulation.decide_the_same(time_of(tick - 1))
    simulation.advance(trace.end)
    progress(1.0)
    return simulation.result()


class _Simulation:
    def __init__(self, policy: Policy, trace: Trace, assumptions: Assumptions) -> None:
        # Of pods that hold so many, the daemon learns as many.
        policy = policy.with_first(assumptions.seats)
        self._policy, self._trace, self._assumptions = policy, trace, assumptions
        self._observer = Observer(
            policy,
            cpu_per_session=assumptions.cpu_per_session,
            cpu_window=assumptions.cpu_window,
            memory_per_session=assumptions.memory_per_session,
            fresh_for=fresh_for(assumptions.scrape_interval),
        )
        self._random = Random(assumptions.seed)  # noqa: S311 - no secret
        self._fleet = SimulatedFleet(assumptions.seats, assumptions.scrape_interval, self._random)
        self._front = Front(
            assumptions.placement, assumptions.when_full, assumptions.seats, self._random
        )
        self._state = State()
        self._holds_until = self.next_event_at = trace.start
        self._events: list[tuple[float, _EventKind, int]] = []
        self._starting: dict[int, SimulatedPod] = {}
        self._waiting: deque[tuple[int, float]] = deque()
        self._waited: dict[int, float] = {}
        self._arrived = 0
        self._desired = effective(policy, Now(trace.start)).bounds.min
        self._refused: list[float] = []
        self._changes: list[Change] = []
        self._served, self._cut, self._seconds_lost, self._decisions = 0, 0, 0.0, 0
        self._series = [StepRecorder() for _ in range(6)]
        self._phases = {phase: StepRecorder() for phase in Phase}
        for _ in range(self._desired):
            early = trace.start - LONG_BEFORE
            self._fleet.mark_ready(self._fleet.create(early, early))
        self._record(trace.start)

    def advance(self, until: float) -> None:
        """Process all events up to and including `until`."""
        sessions = self._trace.sessions
        while True:
            event_at = self._events[0][0] if self._events else inf
            arrives_at = sessions[self._arrived].start if self._arrived < len(sessions) else inf
            at = min(event_at, arrives_at)
            if at > until:
                self.next_event_at = at
                return
            if event_at <= arrives_at:
                self._handle(*heapq.heappop(self._events))
            else:
                self._arrived += 1
                self._arrive(self._arrived - 1, at)
                self._record(at)

    def _handle(self, at: float, kind: _EventKind, number: int) -> None:
        if kind is _EventKind.CONNECT:
            self._fleet.connect(number, at)
            return
        if kind is _EventKind.RETURN:
            self._arrive(number, at)
        elif kind is _EventKind.READY:
            self._fleet.mark_ready(self._starting.pop(number))
        elif at >= self._end_of(number):  # else it was cut, came back, and then had to wait
            self._served += self._fleet.leave(number, at)
        self._admit(at)
        self._record(at)

    def _arrive(self, number: int, at: float) -> None:
        """Let a user come: a new one, or one whose session was cut."""
        pod = self._front.choose(self._fleet.open_pods)
        if pod is not None:
            self._seat(number, pod, at)
        elif self._assumptions.when_full is WhenFull.REFUSE:
            self._refused.append(at)
        else:
            self._waiting.append((number, at))

    def _admit(self, at: float) -> None:
        """Let those who wait have the seats that are free, first come, first served."""
        while self._waiting and (pod := self._front.choose(self._fleet.open_pods)) is not None:
            number, since = self._waiting.popleft()
            self._waited[number] = self._waited.get(number, 0.0) + at - since
            self._seat(number, pod, at)

    def _seat(self, number: int, pod: SimulatedPod, at: float) -> None:
        connects_at = at + self._assumptions.page_load
        self._fleet.seat(number, pod, at, connects_at)
        if at < connects_at < self._end_of(number):
            heapq.heappush(self._events, (connects_at, _EventKind.CONNECT, number))
        heapq.heappush(self._events, (self._end_of(number), _EventKind.END, number))

    def _end_of(self, number: int) -> float:
        """Return when a session ends: later than in the trace by the time that its user waited."""
        return self._trace.sessions[number].end + self._waited.get(number, 0.0)

    def decide(self, now: float) -> None:
        """Run one pass, as the controller does: observe, decide, act, record."""
        self._decisions += 1
        observed = self._observer.observe(self._fleet, self._desired, now)
        decision, self._state = decide(self._policy, observed, self._state, now)
        marks = decision.drain.marks if decision.drain else ()
        for pod, pod_marks in marks:
            self._fleet.set_marks(pod.uid, pod_marks, now)
        self._admit(now)
        if decision.desired == decision.current:
            self._holds_until = decision.holds_until
            return
        self._holds_until = now
        self._act(decision, observed, now)
        self._state = record_scaling(
            self._state, self._policy, decision.current, decision.desired, now
        )
        self._record(now)

    @property
    def holds_until(self) -> float:
        """The time until when each further pass would see and decide the same."""
        return min(self._holds_until, self._fleet.news_at)

    def decide_the_same(self, until: float) -> None:
        """Do what further passes until this time do that see and decide the same: remember that."""
        self._state = self._state.again(until)

    def _act(self, decision: Decision, observed: Observation, now: float) -> None:
        self._desired = decision.desired
        self._changes.append(
            Change(now, decision.current, decision.desired, decision.reason, decision.detail)
        )
        for _ in range(decision.desired - decision.current):
            pod = self._fleet.create(now, now + self._lead_time())
            self._starting[pod.number] = pod
            heapq.heappush(self._events, (pod.ready_at, _EventKind.READY, pod.number))
        for session in self._fleet.remove(self._victims(decision, observed, now), now):
            self._cut += 1
            self._seconds_lost += self._end_of(session) - now
            back_at = now + self._assumptions.returns_after
            if back_at < self._end_of(session):
                heapq.heappush(self._events, (back_at, _EventKind.RETURN, session))

    def _lead_time(self) -> float:
        """Return how long a new pod takes to get Ready: log-normal if some take longer."""
        usual, slow = self._assumptions.lead_time, self._assumptions.slow_lead_time
        if slow is None:
            return usual
        return usual * exp(self._random.gauss(0.0, log(slow / usual) / Z_95))

    def _victims(self, decision: Decision, observed: Observation, now: float) -> list[str]:
        """Return the pods that a scale-down removes; without drains, the ReplicaSet's choice."""
        if decision.drain is not None:
            return [pod.uid for pod in decision.drain.remove]
        surplus = max(0, decision.current - decision.desired)
        order = deletion_order(observed.pods, now) if surplus else []
        return [pod.uid for pod in order[:surplus]]

    def _record(self, at: float) -> None:
        fleet = self._fleet
        now = (
            fleet.seated,
            len(fleet.pods) - fleet.phases[Phase.STARTING],
            len(fleet.pods),
            self._desired,
            fleet.crowded,
            len(self._waiting),
        )
        for recorder, value in zip(self._series, now, strict=True):
            recorder.set(at, value)
        for phase, count in fleet.phases.items():
            self._phases[phase].set(at, count)

    def result(self) -> Run:
        """Return the run as recorded so far."""
        series = (recorder.steps() for recorder in self._series)
        sessions, ready, billed, desired, crowded, waiting = series
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
            crowded=crowded,
            waiting=waiting,
            phases={phase: recorder.steps() for phase, recorder in self._phases.items()},
            lives=tuple(self._fleet.lives),
        )
        waited = len(self._waited) + len({number for number, _ in self._waiting})
        lost = self._seconds_lost / 60.0
        return Run(timeline, self._served, self._cut, lost, waited, self._decisions)
