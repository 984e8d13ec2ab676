"""How long new pods take from their creation to Ready, learnt from the pods of the target.

Pods that had to wait for a node are kept apart: a node that is added takes minutes, and seats for
as long would be kept free all day.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor, inf

from autoscaler.core.drain.pods import never_served
from autoscaler.model import PodState, Starts

# Of so many pods the times are kept, of each kind.
KEPT = 20
# Fewer than so many say nothing about the next one.
FEWEST = 5
# A pod without a node for longer than this had to wait for one, in seconds.
SCHEDULED_WITHIN = 5.0
# Whatever takes longer, in seconds, is a fault, such as an image that cannot be pulled.
LONGEST = 900.0
SHARE = 0.95


def follow(starts: Starts, pods: Iterable[PodState]) -> Starts:
    """Return what is known after a pass that saw these active pods.

    A pod counts if it was seen before it was Ready: a later time may be that of a recovery. Its
    time is in whole seconds.
    """
    new, at_once, waited = set(), starts.at_once, starts.waited
    for pod in pods:
        if never_served(pod) or (pod.uid in starts.new and not pod.ready):
            new.add(pod.uid)
        elif pod.uid in starts.new and (took := _seconds(pod)) <= LONGEST:
            if _waited_for_a_node(pod):
                waited = (*waited, took)[-KEPT:]
            else:
                at_once = (*at_once, took)[-KEPT:]
    if new == starts.new and (at_once, waited) == (starts.at_once, starts.waited):
        return starts
    return Starts(frozenset(new), at_once, waited)


def _seconds(pod: PodState) -> float:
    if pod.created_at is None or pod.ready_since is None:
        return inf
    return ceil(max(0.0, pod.ready_since - pod.created_at))


def _waited_for_a_node(pod: PodState) -> bool:
    if pod.created_at is None or pod.scheduled_at is None:
        return False
    return pod.scheduled_at - pod.created_at > SCHEDULED_WITHIN


def lead_time(starts: Starts) -> float | None:
    """Return the time within which 95 % of the last pods were Ready; None if too few are known."""
    return percentile(starts.at_once) if len(starts.at_once) >= FEWEST else None


def percentile(times: tuple[float, ...]) -> float:
    """Return the time that 95 % of them do not exceed; the longest one alone is no such time."""
    return sorted(times)[floor(SHARE * (len(times) - 1))]
