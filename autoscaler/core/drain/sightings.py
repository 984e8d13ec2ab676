"""What this daemon has seen of the pods by its own clock, and since when.

Nothing that could end a session counts from a time that was written down: the pass that wrote it
may have been slow, the write may have landed late, and the clock of the daemon that wrote it may
differ from ours. A time counts from the first pass that read the result from the API server. So a
restart or a takeover only makes a scale-down later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoscaler.core.now import Now
from autoscaler.model import PodState, Shortage, Sighting
from autoscaler.units import duration_text

# A ReplicaSet's controller may know of the pods what was true so many seconds ago.
INFORMER_LAG = 10.0
Sightings = Mapping[str, Sighting]


def follow(seen: Sightings, active: Sequence[PodState], now: float) -> Sightings:
    """The sightings by uid after a pass that read these active pods at `now`.

    Empty while no pod is cordoned: what pods were like before then matters to nobody.
    """
    if all(pod.routable for pod in active):
        return {}
    return {pod.uid: _seen(seen.get(pod.uid), pod, now) for pod in active}


def _seen(last: Sighting | None, pod: PodState, now: float) -> Sighting:
    # The time tells of a pod that was not Ready for a moment between two looks.
    rank = (pod.phase, pod.ready, pod.ready_since, bool(pod.node), pod.deletion_cost)
    writer = None if pod.routable else pod.label_writer
    released = None if pod.occupancy is None else pod.occupancy.released
    if last is None:
        return Sighting(rank, now, writer, now, released)
    same = last.label_writer == writer
    return Sighting(
        rank,
        last.unchanged_since if last.rank == rank else now,
        writer,
        last.cordoned_since if same else now,
        last.released if same and last.released is not None else released,
    )


def cordoned_for(seen: Sightings, pod: PodState, now: float) -> float:
    """Seconds for which the pod has been seen cordoned without a break."""
    last = seen.get(pod.uid)
    return 0.0 if last is None or pod.routable else now - last.cordoned_since


def released_since(seen: Sightings, pod: PodState) -> int:
    """Sessions of a cordoned pod that were closed for being unused since it was seen cordoned."""
    last, now = seen.get(pod.uid), pod.occupancy
    if last is None or last.released is None or now is None or now.released is None:
        return 0
    return max(0, now.released - last.released)  # a server that began anew counts from 0


def too_fresh(seen: Sightings, pods: Sequence[PodState], now: Now) -> str:
    """Why a ReplicaSet's controller that is late may remove another pod than we expect; or "".

    It ranks pods by what it knows of them. Until that is what we know, it may still see a pod
    without its mark, with a mark that was taken back, or not Ready.
    """
    for pod in pods:
        last = seen.get(pod.uid)
        age = 0.0 if last is None else now.at - last.unchanged_since
        if not now.has_lasted(age, INFORMER_LAG):
            left = duration_text(max(1, round(INFORMER_LAG - age)))
            return f"waiting {left} until the ReplicaSet controller has certainly seen {pod.name}"
    return ""


def follow_shortage(
    last: Shortage | None, active: Sequence[PodState], replicas: int, now: float
) -> Shortage | None:
    """Since when the same pods have been fewer than the replicas; None while they are not."""
    if len(active) >= replicas:
        return None
    uids = frozenset(pod.uid for pod in active)
    return last if last is not None and last.uids == uids else Shortage(uids, now)


def lacking(shortage: Shortage | None, replicas: int, now: Now) -> int:
    """Replicas for which there is no pod, as a quota may keep them from being made.

    None while a ReplicaSet's controller may still know of a pod that is gone: it would remove
    another one for it.
    """
    if shortage is None or not now.has_passed(INFORMER_LAG, since=shortage.since):
        return 0
    return replicas - len(shortage.uids)
