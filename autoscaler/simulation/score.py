"""Scores of a run: what users met, what it cost, and how closely supply followed demand.

theta and tau are the elasticity measures of SPEC RG (Herbst et al., SPEC-RG-2016-01), integrated
over events. Demand is the fewest replicas that seat everyone who wants to be there, at least the
policy's minimum. Supply is *ready* replicas where too few hurt, *billed* ones where too many cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from autoscaler.simulation.engine import Run
from autoscaler.simulation.timeline import Steps, Timeline, pieces
from autoscaler.simulation.trace import Trace

HOUR = 3_600.0


@dataclass(frozen=True, slots=True)
class Score:
    """One run in numbers; the ideal of each but the sessions is as low as can be.

    refused: users who found no free seat. cut: sessions that a scale-down ended, minutes_lost
    their remaining time. replica_hours: billed. fluid_bound: replica-hours if sessions could move
    freely and pods start at once; nothing can beat it without refusing. theta_u, theta_o: mean
    share of demand that was missing or in excess, in percent; tau_u, tau_o: share of the time, in
    percent. seat_utilization: percent of billed seats that were taken.
    """

    sessions: int
    refused: int
    refused_percent: float
    cut: int
    minutes_lost: float
    replica_hours: float
    fluid_bound: float
    peak_replicas: int
    peak_sessions: int
    scale_ups: int
    scale_downs: int
    seat_utilization: float
    theta_u: float
    theta_o: float
    tau_u: float
    tau_o: float


@dataclass(slots=True)
class _Sums:
    """Integrals over time, in replica-seconds, session-seconds or seconds."""

    billed: float = 0.0
    fluid: float = 0.0
    seated: float = 0.0
    missing: float = 0.0
    excess: float = 0.0
    short: float = 0.0
    long: float = 0.0


def score(run: Run, trace: Trace, minimum: int) -> Score:
    """Score a run of the trace under a policy whose lower bound is `minimum` replicas."""
    timeline = run.timeline
    sums = _integrate(timeline, trace.concurrency, minimum)
    length = max(timeline.end - timeline.start, 1e-9)
    sessions, refused = len(trace.sessions), len(timeline.refused)
    return Score(
        sessions=sessions,
        refused=refused,
        refused_percent=100.0 * refused / sessions if sessions else 0.0,
        cut=run.cut,
        minutes_lost=run.minutes_lost,
        replica_hours=sums.billed / HOUR,
        fluid_bound=sums.fluid / HOUR,
        peak_replicas=int(timeline.billed.peak),
        peak_sessions=int(trace.concurrency.peak),
        scale_ups=sum(change.after > change.before for change in timeline.changes),
        scale_downs=sum(change.after < change.before for change in timeline.changes),
        seat_utilization=100.0 * sums.seated / max(sums.billed * timeline.seats, 1e-9),
        theta_u=100.0 * sums.missing / length,
        theta_o=100.0 * sums.excess / length,
        tau_u=100.0 * sums.short / length,
        tau_o=100.0 * sums.long / length,
    )


def _integrate(timeline: Timeline, wanted: Steps, minimum: int) -> _Sums:
    sums = _Sums()
    series = (wanted, timeline.sessions, timeline.ready, timeline.billed)
    for seconds, (users, seated, ready, billed) in pieces(series, timeline.start, timeline.end):
        fluid = ceil(users / timeline.seats)
        demand = max(fluid, minimum)
        sums.billed += billed * seconds
        sums.fluid += fluid * seconds
        sums.seated += seated * seconds
        sums.missing += max(demand - ready, 0) / max(demand, 1) * seconds
        sums.excess += max(billed - demand, 0) / max(demand, 1) * seconds
        sums.short += (ready < demand) * seconds
        sums.long += (billed > demand) * seconds
    return sums


def static_fleet(trace: Trace, seats: int) -> Run:
    """The baseline: as many replicas as the busiest moment needs, all the time.

    What people run who cannot scale, with the luck of knowing the peak beforehand: nobody is
    refused, because whoever comes finds fewer sessions than seats.
    """
    replicas = max(1, ceil(trace.concurrency.peak / seats))
    fleet = Steps((trace.start,), (replicas,))
    timeline = Timeline(trace.start, trace.end, seats, trace.concurrency, fleet, fleet, fleet)
    return Run(timeline, served=len(trace.sessions))
