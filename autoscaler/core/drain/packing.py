"""Send new users to few pods, so that the others empty and can be deleted.

Open are the fullest pods that together have enough free seats for those who come before a pass can
open another one. The others are the *reserve*: cordoned and Ready, opened within one pass, and
drained first when replicas are surplus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from autoscaler.core.drain.cleanup import SERVING
from autoscaler.core.drain.fleet import Fleet
from autoscaler.core.drain.pods import is_full
from autoscaler.core.drain.stragglers import is_straggling
from autoscaler.model import Cause, Cordon, DrainPlan, PodMarks, PodState

# A pod is closed only if the others have so many times the seats that new users need, so that a
# few users who come or leave do not open and close it again and again.
CLOSING = 1.25


class Landing(NamedTuple):
    """What new users need: so many free seats, on at least so many pods that have any.

    may_close: whether pods may be put in reserve now; in doubt none is.
    """

    seats: int
    pods: int
    may_close: bool = True


class _Room:
    """The free seats of some pods, and the nodes of those that have any, with their number."""

    def __init__(self, fleet: Fleet, pods: Iterable[PodState]) -> None:
        self.seats = 0
        self.nodes: Counter[str] = Counter()
        self._fleet = fleet
        for pod in pods:
            self.add(pod)

    def add(self, pod: PodState, times: int = 1) -> None:
        """Add a pod, or remove it with -1 times."""
        free = _free_seats(self._fleet, pod)
        self.seats += times * free
        self.nodes[pod.node] += times * bool(free)
        if not self.nodes[pod.node]:
            del self.nodes[pod.node]

    def suffices(self, landing: Landing, times: float = 1.0) -> bool:
        """Whether it is so many times what new users need, wherever the pods are."""
        return self.seats >= times * landing.seats and self.nodes.total() >= landing.pods


def with_packing(fleet: Fleet, plan: DrainPlan, landing: Landing | None) -> DrainPlan:
    """Return the plan with pods opened for new users, and others put in reserve.

    landing: None opens all pods of the reserve. Pods that the plan drains are not touched, and
    those that it uncordons may go to the reserve instead.
    """
    planned = {pod.uid for pod, _ in plan.marks}
    back = [pod for pod, marks in plan.marks if marks.routable and not pod.routable]
    pods = [*back, *(pod for pod in fleet.warm if pod.uid not in planned)]
    is_open = {pod.uid for pod in pods if pod.routable} | {pod.uid for pod in back}
    chosen = {pod.uid for pod in (pods if landing is None else _chosen(fleet, pods, landing))}
    reserve = PodMarks(routable=False, cordon=Cordon(Cause.RESERVE, fleet.now.at))
    changes = {
        pod.uid: (pod, SERVING if pod.uid in chosen else reserve)
        for pod in pods
        if (pod.uid in chosen) != (pod.uid in is_open)
    }
    if not changes:
        return plan
    kept = (change for change in plan.marks if change[0].uid not in changes)
    return plan._replace(marks=(*kept, *changes.values()))


def _chosen(fleet: Fleet, pods: Sequence[PodState], landing: Landing) -> list[PodState]:
    """Return the pods that shall be open: those that are, fewer if they have more than enough."""
    nodes = min(landing.pods, len(_Room(fleet, pods).nodes))
    present = [pod for pod in pods if pod.routable]
    wanted = _opened(fleet, present, pods, landing, nodes)
    if len(wanted) > len(present) or not landing.may_close:
        return wanted
    return _closed(fleet, present, landing, nodes)


def _opened(
    fleet: Fleet,
    present: Sequence[PodState],
    pods: Sequence[PodState],
    landing: Landing,
    nodes: int,
) -> list[PodState]:
    """Return the open pods and as many others as new users need, the fullest with seats first.

    nodes: on so many at least, for one that fails takes all its pods along.
    """
    chosen = list(present)
    others = sorted((pod for pod in pods if not pod.routable), key=lambda pod: _rank(fleet, pod))
    others.sort(key=lambda pod: not _free_seats(fleet, pod))
    room = _Room(fleet, chosen)
    while others and not (room.suffices(landing) and len(room.nodes) >= nodes):
        lacks = len(room.nodes) < nodes
        pod = next((pod for pod in others if lacks and pod.node not in room.nodes), others[0])
        others.remove(pod)
        chosen.append(pod)
        room.add(pod)
    return chosen


def _closed(
    fleet: Fleet, present: Sequence[PodState], landing: Landing, nodes: int
) -> list[PodState]:
    """Return the open pods without those that new users do not need, the emptiest first."""
    ranked, chosen = sorted(present, key=lambda pod: _rank(fleet, pod)), list[PodState]()
    room = _Room(fleet, ranked)
    while ranked:
        pod = ranked.pop()
        room.add(pod, -1)
        if not room.suffices(landing, CLOSING) or not pod.labelled:
            return [*ranked, pod, *chosen]
        if len(room.nodes) < nodes:
            room.add(pod)
            chosen.append(pod)
    return chosen


def _rank(fleet: Fleet, pod: PodState) -> tuple[float, ...]:
    """Pods that stay anyway first, then the fullest."""
    return not is_straggling(fleet, pod), _free_seats(fleet, pod), pod.created_at or 0.0


def _free_seats(fleet: Fleet, pod: PodState) -> int:
    """Return the free seats of a pod; none if not Ready, without data, or near its memory limit."""
    metric = fleet.policy.sessions
    if metric is None or pod.sessions is None or not pod.serving or is_full(pod, fleet.policy):
        return 0
    return metric.seats - pod.sessions.value
