"""The daemon's estimate of the sticky bound, beside the one of a simulation, which knows the ends.

A pass sees what a scrape saw every 15 s.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from math import ceil

import pytest

from autoscaler.core.sticky_bound import Packed, count_pods, follow
from autoscaler.model import PodState, Sample
from autoscaler.simulation.bounds import lower_bounds
from autoscaler.simulation.trace import Session, Trace
from autoscaler.simulation.workloads import Workload, office_week, overnight_tail, viral_spike

SCRAPE = 15.0
HOUR = 3_600.0
SEATS = 10
# docs/costs.md says so.
ERROR = 0.08

# The sessions on each real pod.
Pods = Sequence[list[Session]]
Choose = Callable[[Pods, int], int]


def emptiest(pods: Pods, seats: int) -> int:
    return min(range(len(pods)), key=lambda number: len(pods[number]))


def fullest(pods: Pods, seats: int) -> int:
    free = [number for number, sessions in enumerate(pods) if len(sessions) < seats]
    return max(free, key=lambda number: (len(pods[number]), -number))


def estimated(trace: Trace, seats: int, choose: Choose) -> float:
    """Return the replica-hours of the bound that the daemon has followed over a trace."""
    pods: Pods = [[] for _ in range(ceil(1.25 * trace.concurrency.peak / seats) + 1)]
    ends: list[tuple[float, int, Session]] = []
    seen = [scraped(number, []) for number in range(len(pods))]
    coming = list(reversed(trace.sessions))
    packed: Packed = {}
    billed, at, changed = 0.0, trace.start, set[int]()

    def leave(until: float) -> None:
        while ends and ends[0][0] <= until:
            _, number, session = heapq.heappop(ends)
            pods[number].remove(session)
            changed.add(number)

    while at < trace.end:
        while coming and coming[-1].start <= at:
            session = coming.pop()
            leave(session.start)
            number = choose(pods, seats)
            pods[number].append(session)
            heapq.heappush(ends, (session.end, number, session))
            changed.add(number)
        leave(at)
        if changed:
            for number in changed:
                seen[number] = scraped(number, pods[number])
            changed.clear()
            packed = follow(packed, seen, seats, at)
        billed += max(1, count_pods(packed)) * SCRAPE
        at += SCRAPE
    return billed / HOUR


def scraped(number: int, sessions: list[Session]) -> PodState:
    began = min((session.start for session in sessions), default=None)
    oldest = None if began is None else Sample(round(began), 0.0)
    count = Sample(len(sessions), 0.0)
    return PodState(f"pod-{number}", uid=f"{number}", sessions=count, oldest_session=oldest)


@pytest.mark.parametrize("choose", [emptiest, fullest])
@pytest.mark.parametrize("workload", [office_week, overnight_tail, viral_spike])
def test_the_estimate_is_as_close_to_the_bound_as_the_page_says(
    workload: Workload, choose: Choose
) -> None:
    trace = workload(1, "UTC")
    exact = lower_bounds(trace, SEATS, minimum=1)

    assert estimated(trace, SEATS, choose) == pytest.approx(exact.sticky, rel=ERROR)
    assert exact.fluid < (1.0 - 2 * ERROR) * exact.sticky, "the fluid bound would be no estimate"
