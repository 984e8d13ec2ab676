"""Send new users to few pods, so that the others empty and can be deleted.

Open are the fullest pods that together have enough free seats for those who come before a pass can
open another one. The others are the *reserve*: cordoned and Ready, opened within one pass, and
drained first when replicas are surplus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
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


class Spread(NamedTuple):
    """Over how many zones and nodes pods are spread."""

    zones: int
    nodes: int


class _Room:
    """The free seats of some pods, and the zones and nodes of those that have any."""

    def __init__(self, fleet: Fleet, pods: Iterable[PodState]) -> None:
        self.seats = 0
        self._zones, self._nodes = Counter[str](), Counter[str]()
        self._fleet = fleet
        for pod in pods:
            self.add(pod)

    def add(self, pod: PodState, times: int = 1) -> None:
        """Add a pod, or remove it with -1 times."""
        free = _free_seats(self._fleet, pod)
        self.seats += times * free
        self._nodes[pod.node] += times * bool(free)
        self._zones[pod.zone] += times * bool(free and pod.zone)
        # What has none left is no place.
        self._nodes, self._zones = +self._nodes, +self._zones

    def suffices(self, landing: Landing, times: float = 1.0) -> bool:
        """Whether it is so many times what new users need, wherever the pods are."""
        return self.seats >= times * landing.seats and self._nodes.total() >= landing.pods

    def spread(self, most: int) -> Spread:
        """Return in how many zones and on how many nodes the pods are, up to `most` of each."""
        return Spread(min(most, len(self._zones)), min(most, len(self._nodes)))

    def gain(self, pod: PodState, wanted: Spread) -> int:
        """Return what the pod adds to a room that is less spread than wanted: 0 to 2."""
        adds_zone = len(self._zones) < wanted.zones and pod.zone not in {"", *self._zones}
        adds_node = len(self._nodes) < wanted.nodes and pod.node not in self._nodes
        return adds_zone + adds_node


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
    spread = _Room(fleet, pods).spread(landing.pods)
    present = [pod for pod in pods if pod.routable]
    wanted = _opened(fleet, present, pods, landing, spread)
    if len(wanted) > len(present) or not landing.may_close:
        return wanted
    return _closed(fleet, present, landing, spread)


def _opened(
    fleet: Fleet,
    present: Sequence[PodState],
    pods: Sequence[PodState],
    landing: Landing,
    spread: Spread,
) -> list[PodState]:
    """Return the open pods and as many others as new users need, the fullest with seats first.

    spread: so much at least, for a node or a zone that fails takes all its pods along.
    """
    chosen, room = list(present), _Room(fleet, present)
    is_spread = room.spread(landing.pods) == spread
    if is_spread and room.suffices(landing):
        return chosen
    closed = [pod for pod in pods if not pod.routable]
    others = _first_to_close(fleet, closed)[::-1]
    others.sort(key=lambda pod: not _free_seats(fleet, pod))
    while others and not (is_spread and room.suffices(landing)):
        pod = others[0] if is_spread else max(others, key=partial(room.gain, wanted=spread))
        others.remove(pod)
        chosen.append(pod)
        room.add(pod)
        is_spread = room.spread(landing.pods) == spread
    return chosen


def _closed(
    fleet: Fleet, present: Sequence[PodState], landing: Landing, spread: Spread
) -> list[PodState]:
    """Return the open pods without those that new users do not need, the emptiest first."""
    room, closed = _Room(fleet, present), set[str]()
    for pod in _first_to_close(fleet, present):
        room.add(pod, -1)
        if not room.suffices(landing, CLOSING) or not pod.labelled:
            break
        if room.spread(landing.pods) == spread:
            closed.add(pod.uid)
        else:
            room.add(pod)
    return [pod for pod in present if pod.uid not in closed]


def _first_to_close(fleet: Fleet, pods: Sequence[PodState]) -> list[PodState]:
    """Return the emptiest first, of equal ones that which is expected to be empty first.

    Last come pods that stay anyway.
    """

    def rank(pod: PodState) -> tuple[float, ...]:
        free, age = _free_seats(fleet, pod), -(pod.created_at or 0.0)
        return is_straggling(fleet, pod), -free, fleet.lasts(pod), age

    last_first = pods[::-1]
    return sorted(last_first, key=rank)


def _free_seats(fleet: Fleet, pod: PodState) -> int:
    """Return the free seats of a pod; none if not Ready, without data, or near its memory limit."""
    metric = fleet.policy.sessions
    if metric is None or pod.taken is None or not pod.serving or is_full(pod, fleet.policy):
        return 0
    return metric.seats - pod.taken.value
