"""Pods that will not be empty soon, because a session there has outlasted the others by far.

A tab that somebody forgot stays for days where visits take minutes. Such a pod serves, and another
one is drained in its place: of two pods, the one whose sessions end sooner frees a replica sooner.
"""

from __future__ import annotations

from math import inf

from autoscaler.core.drain.fleet import Fleet
from autoscaler.core.drain.pods import is_full, users
from autoscaler.model import PodState

# A session that has lasted so many times the average lasts much longer still, if any does at all.
TIMES = 6.0
# Below, sessions are too short for anything to be won, in seconds.
LEAST = 600.0


def is_straggling(fleet: Fleet, pod: PodState) -> bool:
    """Whether the oldest session of the pod has lasted several times as long as sessions do."""
    oldest, stay = pod.oldest_session, fleet.stay
    if oldest is None or stay is None or not 0 < users(pod) < inf:
        return False
    return fleet.now.has_passed(max(LEAST, TIMES * stay), since=oldest.value)


def exchange(fleet: Fleet) -> tuple[list[PodState], list[PodState]]:
    """Return draining pods that will not be empty soon, and as many that are drained instead."""
    late = [pod for pod in fleet.returnable if pod.serving and is_straggling(fleet, pod)]
    late = [pod for pod in late if not is_full(pod, fleet.policy)]
    if not late or not fleet.all_serve:
        return [], []
    sooner = [pod for pod in fleet.warm if users(pod) < inf and not is_straggling(fleet, pod)]
    sooner = sorted(sooner, key=fleet.lasts)[: len(late)]
    return late[: len(sooner)], sooner
