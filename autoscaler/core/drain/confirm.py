"""Confirm that Kubernetes deleted the pods that were chosen."""

from __future__ import annotations

from autoscaler.core.drain.pods import sessions_of
from autoscaler.model import Confirmation, Observation, PodState, Removal


def expect_removal(remove: tuple[PodState, ...], observed: Observation, now: float) -> Removal:
    """Return what to watch after a scale-down that removes these pods."""
    victims = {pod.uid: sessions_of(pod) for pod in remove}
    others = {pod.uid: sessions_of(pod) for pod in observed.active if pod.uid not in victims}
    return Removal(victims, others, now)


def confirm_removal(expected: Removal, observed: Observation) -> Confirmation | None:
    """Return how the scale-down ended; None while there are more pods than replicas.

    A pod that is being deleted counts as deleted. If no pod is surplus any more and a victim is
    still there, another pod was deleted instead, or somebody reverted the scale-down.
    """
    alive = {pod.uid for pod in observed.active}
    removed = [uid for uid in expected.victims if uid not in alive]
    cut = sum(expected.victims[uid] for uid in removed)
    if len(removed) == len(expected.victims):
        return Confirmation(len(removed), cut)
    if len(alive) > observed.replicas:
        return None
    gone = [uid for uid in expected.others if uid not in alive]
    cut += sum(expected.others[uid] for uid in gone)
    return Confirmation(len(removed), cut, mismatch=bool(gone))
