"""Cordon full pods, uncordon pods with room again, remove leftovers, set eviction protection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from autoscaler.core.drain.fleet import Fleet, remaining
from autoscaler.core.drain.pods import (
    has_room,
    is_free_to_go,
    is_full,
    needs_protection,
)
from autoscaler.model import Cause, Cordon, DrainPlan, PodMarks, PodState

SERVING = PodMarks(routable=True)


def with_cleanup(fleet: Fleet, plan: DrainPlan) -> DrainPlan:
    """Return the plan with full pods cordoned, others uncordoned, and leftovers removed."""
    planned = {pod.uid for pod, _ in plan.marks} | {pod.uid for pod in plan.remove}
    changes = [*plan.marks, *_cordon_full_pods(fleet, planned)]
    planned |= {pod.uid for pod, _ in changes}
    for pod in fleet.pods:
        if pod.uid not in planned:
            right = _right_marks(fleet, pod)
            if right != _carried(pod) or pod.stray_mark or needs_protection(pod) != pod.protected:
                changes.append((pod, right))
    return replace(plan, marks=tuple(map(_with_protection, changes)))


def _with_protection(change: tuple[PodState, PodMarks]) -> tuple[PodState, PodMarks]:
    pod, marks = change
    return pod, marks._replace(protected=needs_protection(pod))


def _carried(pod: PodState) -> PodMarks:
    return PodMarks(pod.routable, pod.cordon, pod.deletion_cost if pod.cost_is_ours else None)


def _right_marks(fleet: Fleet, pod: PodState) -> PodMarks:
    """Return what a pod should carry that the plan does not touch: a mark only if it is drained.

    A cordon with a time in the future was written before the clock was set back.
    """
    carried = _carried(pod)
    if pod.routable:
        return SERVING
    if not is_free_to_go(pod, fleet.drain, fleet.now):  # somebody came back
        carried = carried._replace(cost=None)
    if pod.cordon is not None and pod.cordon.at > fleet.now:
        carried = carried._replace(cordon=pod.cordon._replace(at=fleet.now))
    return carried


def _cordon_full_pods(fleet: Fleet, planned: set[str]) -> list[tuple[PodState, PodMarks]]:
    """Cordon full pods while another pod has room, and uncordon those that have room again.

    Skip pods without the label: no Service selects by it, and once we added it the pod would
    wrongly appear cordonable.
    """
    apart = [pod for pod in fleet.pods if pod.is_cordoned_full and pod.uid not in planned]
    back = [(pod, SERVING) for pod in apart if has_room(pod, fleet.policy)]
    open_now = [p for p in fleet.serving if p.uid not in planned and p.serving]
    full = [pod for pod in open_now if pod.labelled and is_full(pod, fleet.policy)]
    if len(full) == len(open_now):  # the last ones stay open
        return [(pod, SERVING) for pod in apart] if not open_now else back
    marks = PodMarks(routable=False, cordon=Cordon(Cause.FULL, fleet.now))
    return back + [(pod, marks) for pod in full]


def released(
    pods: Iterable[PodState], replicas: int, now: float
) -> tuple[tuple[PodState, PodMarks], ...]:
    """Return the marks that remove our labels and annotations from every pod.

    For targets that we do not drain: `drain: none`, another autoscaler, a removed policy.
    """
    return tuple(
        (pod, PodMarks(routable=pod.routable or pod.cordon is not None))
        for pod in remaining(pods, replicas, now)
        if pod.cordon is not None or pod.cost_is_ours or pod.stray_mark or pod.protected
    )
