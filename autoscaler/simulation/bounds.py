"""Lower bounds of the replica-hours of a trace: what a policy could save at most.

A bound's pods start at once, end as soon as they are empty, and no seat is kept free, so no real
policy reaches it. Its *regret* is by how much more it costs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import ceil

from autoscaler.core.sticky_bound import fullness
from autoscaler.simulation.timeline import pieces
from autoscaler.simulation.trace import Trace

HOUR = 3_600.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Replica-hours that a trace needs at least, with at least the policy's minimum of replicas.

    fluid: if sessions could move. sticky: if each new session takes the fullest pod with a free
    seat, and stays there. clairvoyant: the same for a placement that knows how long each session
    will last.
    """

    fluid: float
    sticky: float
    clairvoyant: float

    def regret(self, replica_hours: float) -> float:
        """Return by how many percent these replica-hours exceed the sticky bound."""
        return 100.0 * (replica_hours / self.sticky - 1.0) if self.sticky else 0.0


@dataclass(slots=True, eq=False)
class _Pod:
    number: int
    sessions: int = 0
    busy_until: float = field(default=float("-inf"))


Choose = Callable[[Iterable[_Pod], float], "_Pod | None"]


def lower_bounds(trace: Trace, seats: int, minimum: int) -> Bounds:
    """Return the bounds for pods of `seats` seats and at least `minimum` replicas."""
    return Bounds(
        _fluid(trace, seats, minimum),
        _packed(trace, seats, minimum, _fullest),
        _packed(trace, seats, minimum, _ends_last),
    )


def _fluid(trace: Trace, seats: int, minimum: int) -> float:
    users = pieces([trace.concurrency], trace.start, trace.end)
    return sum(max(minimum, ceil(count / seats)) * seconds for seconds, (count,) in users) / HOUR


def _fullest(open_pods: Iterable[_Pod], _end: float) -> _Pod | None:
    return max(open_pods, key=lambda pod: fullness(pod.sessions, pod.number), default=None)


def _ends_last(open_pods: Iterable[_Pod], end: float) -> _Pod | None:
    """Choose the pod that need not stay longer for this session, or not for much; the fullest."""
    return min(
        open_pods,
        key=lambda pod: (max(0.0, end - pod.busy_until), -pod.sessions, pod.number),
        default=None,
    )


def _packed(trace: Trace, seats: int, minimum: int, choose: Choose) -> float:
    """Return the replica-hours if `choose` places each session and never moves it."""
    running, created = 0, 0
    free: set[_Pod] = set()  # pods that have a free seat, which are few in a crowd
    leaving: list[tuple[float, int, _Pod]] = []
    billed, at = 0.0, trace.start

    def bill_until(moment: float) -> None:
        nonlocal billed, at
        billed += max(minimum, running) * (moment - at)
        at = moment

    def empty_until(moment: float) -> None:
        nonlocal running
        while leaving and leaving[0][0] <= moment:
            end, _, pod = heapq.heappop(leaving)
            bill_until(end)
            pod.sessions -= 1
            free.add(pod)
            if not pod.sessions:
                free.remove(pod)
                running -= 1

    for number, (start, end) in enumerate(trace.sessions):
        empty_until(start)
        bill_until(start)
        pod = choose(free, end)
        if pod is None:
            pod = _Pod(created)
            created, running = created + 1, running + 1
            free.add(pod)
        pod.sessions += 1
        if pod.sessions == seats:
            free.remove(pod)
        pod.busy_until = max(pod.busy_until, end)
        heapq.heappush(leaving, (end, number, pod))
    empty_until(trace.end)
    bill_until(trace.end)
    return billed / HOUR
