"""Whether the pods that went are the pods that were chosen."""

from __future__ import annotations

from autoscaler.core.deletion_order import is_active
from autoscaler.model import Confirmation, Observation, PodState, Removal


def removal(remove: tuple[PodState, ...], observed: Observation, now: float) -> Removal:
    """What to watch after a shrink that is to remove these pods."""
    victims = {pod.uid: _sessions(pod) for pod in remove}
    others = {
        pod.uid: _sessions(pod)
        for pod in observed.pods
        if is_active(pod) and pod.uid not in victims
    }
    return Removal(victims, others, now)


def _sessions(pod: PodState) -> int:
    """By the pod's own word, or as it was scraped last."""
    if pod.occupancy is not None:
        return pod.occupancy.live
    return pod.sessions.value if pod.sessions else 0


def confirm(expected: Removal, observed: Observation) -> Confirmation | None:
    """How the shrink ended; None while there are more pods than replicas, for it has not then.

    A pod that is being deleted is gone. Victims that are still there when there is none too many
    stay: another pod went instead, or somebody took the shrink back.
    """
    alive = {pod.uid for pod in observed.pods if is_active(pod)}
    removed = [uid for uid in expected.victims if uid not in alive]
    cut = sum(expected.victims[uid] for uid in removed)
    if len(removed) == len(expected.victims):
        return Confirmation(len(removed), cut)
    if len(alive) > observed.replicas:
        return None
    gone = [uid for uid in expected.others if uid not in alive]
    cut += sum(expected.others[uid] for uid in gone)
    return Confirmation(len(removed), cut, mismatch=bool(gone))
