"""Scores of a run: the effect on users, the cost, and how closely supply followed demand.

theta and tau are the elasticity measures of SPEC RG (Herbst et al., SPEC-RG-2016-01), integrated
over events. Demand is the smallest number of replicas with seats for all sessions that want one,
and at least the policy's minimum. Supply is the number of *ready* replicas for measures of too few,
and of *billed* replicas for measures of too many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from autoscaler.simulation.bounds import Bounds, lower_bounds
from autoscaler.simulation.engine import Run
from autoscaler.simulation.timeline import Phase, Steps, Timeline, pieces
from autoscaler.simulation.trace import Trace

HOUR = 3_600.0
MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Score:
    """The score of a run; lower is better for all values except sessions and seat utilization.

    refused: users who found no free seat and went away. waited: users who waited for one, and
    waiting_minutes: for how long. crowded_minutes: time of sessions on pods whose seats were all
    taken by others. cut: sessions that a scale-down ended. minutes_lost: the remaining time of
    those. replica_hours: billed. hours: the same by what the replicas did; empty if that is not
    known. bounds: the least at the policy's minimum; regret: by how many percent the replica-hours
    are above the bound for sessions that stay where they are. theta_u, theta_o: mean share of
    demand that was missing or in excess, in percent. tau_u, tau_o: share of the time with too few
    or too many replicas, in percent. seat_utilization: percent of the billed seats that were taken.
    """

    sessions: int
    refused: int
    refused_percent: float
    waited: int
    waiting_minutes: float
    crowded_minutes: float
    cut: int
    minutes_lost: float
    replica_hours: float
    hours: Mapping[Phase, float]
    bounds: Bounds
    regret: float
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
    seated: float = 0.0
    missing: float = 0.0
    excess: float = 0.0
    short: float = 0.0
    long: float = 0.0
    crowded: float = 0.0
    waiting: float = 0.0


def score(run: Run, trace: Trace, minimum: int, bounds: Bounds | None = None) -> Score:
    """Score a run of the trace under a policy whose lower bound is `minimum` replicas.

    bounds: those of the trace with as many seats and this minimum, if they are known already.
    """
    timeline = run.timeline
    bounds = bounds or lower_bounds(trace, timeline.seats, minimum)
    sums = _integrate(timeline, trace.concurrency, minimum)
    length = max(timeline.end - timeline.start, 1e-9)
    sessions, refused = len(trace.sessions), len(timeline.refused)
    return Score(
        sessions=sessions,
        refused=refused,
        refused_percent=100.0 * refused / sessions if sessions else 0.0,
        waited=run.waited,
        waiting_minutes=sums.waiting / MINUTE,
        crowded_minutes=sums.crowded / MINUTE,
        cut=run.cut,
        minutes_lost=run.minutes_lost,
        replica_hours=sums.billed / HOUR,
        hours={phase: _hours(steps, timeline) for phase, steps in timeline.phases.items()},
        bounds=bounds,
        regret=bounds.regret(sums.billed / HOUR),
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
    series = (
        *(wanted, timeline.sessions, timeline.ready, timeline.billed),
        *(timeline.crowded, timeline.waiting),
    )
    for seconds, values in pieces(series, timeline.start, timeline.end):
        users, seated, ready, billed, crowded, waiting = values
        demand = max(ceil(users / timeline.seats), minimum)
        sums.billed += billed * seconds
        sums.crowded += crowded * seconds
        sums.waiting += waiting * seconds
        sums.seated += seated * seconds
        sums.missing += max(demand - ready, 0) / max(demand, 1) * seconds
        sums.excess += max(billed - demand, 0) / max(demand, 1) * seconds
        sums.short += (ready < demand) * seconds
        sums.long += (billed > demand) * seconds
    return sums


def _hours(steps: Steps, timeline: Timeline) -> float:
    spans = pieces((steps,), timeline.start, timeline.end)
    return sum(value * seconds for seconds, (value,) in spans) / HOUR


def static_fleet(trace: Trace, seats: int) -> Run:
    """Return the baseline: a constant number of replicas with seats for the peak.

    That is what an app without an autoscaler would need, if its peak were known beforehand. No user
    is refused, because there are always more seats than sessions.
    """
    replicas = max(1, ceil(trace.concurrency.peak / seats))
    fleet = Steps((trace.start,), (replicas,))
    timeline = Timeline(trace.start, trace.end, seats, trace.concurrency, fleet, fleet, fleet)
    return Run(timeline, served=len(trace.sessions))
