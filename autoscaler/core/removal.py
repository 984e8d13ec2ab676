"""Whether the pods that went are the pods that were chosen."""

from __future__ import annotations

from autoscaler.core.deletion_order import is_active
from autoscaler.model import Confirmation, Observation, PodState, Removal

# A ReplicaSet removes pods within a second; past this nobody will.
PATIENCE = 120.0


def removal(remove: tuple[PodState, ...], observed: Observation, now: float) -> Removal:
    """What to watch after a shrink that is to remove these pods."""
    victims = {pod.uid: pod.occupancy.live if pod.occupancy else 0 for pod in remove}
    others = {
        pod.uid: pod.sessions.value if pod.sessions else 0
        for pod in observed.pods
        if is_active(pod) and pod.uid not in victims
    }
    return Removal(victims, others, now)


def confirm(expected: Removal, observed: Observation, now: float) -> Confirmation | None:
    """How the shrink ended; None while it has not. A pod that is being deleted is gone."""
    alive = {pod.uid for pod in observed.pods if is_active(pod)}
    if not alive & expected.victims.keys():
        return Confirmation(len(expected.victims), sum(expected.victims.values()))
    gone = [uid for uid in expected.others if uid not in alive]
    removed = [uid for uid in expected.victims if uid not in alive]
    if gone and len(gone) + len(removed) >= len(expected.victims):
        cut = sum(expected.others[uid] for uid in gone)
        cut += sum(expected.victims[uid] for uid in removed)
        return Confirmation(len(removed), cut, mismatch=True)
    return Confirmation(0) if now - expected.at > PATIENCE else None
