"""Cordon full pods, uncordon pods with room again, remove leftovers, set eviction protection."""

from __future__ import annotations

from collections.abc import Iterable

from autoscaler.core.drain.fleet import Fleet, remaining
from autoscaler.core.drain.pods import (
    has_room,
    is_free_to_go,
    is_full,
    needs_protection,
)
from autoscaler.core.now import Now
from autoscaler.model import Cause, Cordon, DrainPlan, PodMarks, PodState

SERVING = PodMarks(routable=True)


def with_cleanup(fleet: Fleet, plan: DrainPlan) -> DrainPlan:
    """Return the plan with full pods cordoned, others uncordoned, and leftovers removed."""
    planned = {pod.uid for pod, _ in plan.marks} | {pod.uid for pod in plan.remove}
    changes = [*plan.marks, *_cordon_full_pods(fleet, planned)]
    planned |= {pod.uid for pod, _ in changes}
    rest = [pod for pod in fleet.pods if pod.uid not in planned]
    changes += [(pod, marks) for pod in rest if (marks := _correction(fleet, pod)) is not None]
    return plan._replace(marks=tuple(map(_with_protection, changes))) if changes else plan


def _with_protection(change: tuple[PodState, PodMarks]) -> tuple[PodState, PodMarks]:
    pod, marks = change
    return pod, PodMarks(marks.routable, marks.cordon, marks.cost, needs_protection(pod))


def _carried(pod: PodState) -> PodMarks:
    return PodMarks(pod.routable, pod.cordon, pod.deletion_cost if pod.cost_is_ours else None)


def _correction(fleet: Fleet, pod: PodState) -> PodMarks | None:
    """Return what a pod should carry that the plan does not touch; None if it does already."""
    if right := _right_marks(fleet, pod):
        return right
    is_right = not pod.stray_mark and needs_protection(pod) == pod.protected
    return None if is_right else _carried(pod)


def _right_marks(fleet: Fleet, pod: PodState) -> PodMarks | None:
    """Return the marks that replace the pod's; None if they are right.

    A serving pod carries none, and a cordoned one a deletion cost only if it is drained. A cordon
    with a time in the future was written before the clock was set back.
    """
    if pod.routable:
        return SERVING if pod.cordon is not None or pod.cost_is_ours else None
    came_back = pod.cost_is_ours and not is_free_to_go(pod, fleet.drain, fleet.now)
    in_future = pod.cordon is not None and fleet.now.is_before(pod.cordon.at)
    if not came_back and not in_future:
        return None
    cordon = Cordon(pod.cordon.cause, fleet.now.at) if pod.cordon and in_future else pod.cordon
    return PodMarks(False, cordon, None if came_back else _carried(pod).cost)


def _cordon_full_pods(fleet: Fleet, planned: set[str]) -> list[tuple[PodState, PodMarks]]:
    """Cordon full pods while another pod has room, and uncordon those that have room again.

    Skip pods without the label: no Service selects by it, and once we added it the pod would
    wrongly appear cordonable.
    """
    apart = [pod for pod in fleet.cordoned if pod.is_cordoned_full and pod.uid not in planned]
    back = [(pod, SERVING) for pod in apart if has_room(pod, fleet.policy)]
    open_now = [pod for pod in fleet.open if pod.uid not in planned]
    full = [pod for pod in open_now if pod.labelled and is_full(pod, fleet.policy)]
    if len(full) == len(open_now):  # the last ones stay open
        return [(pod, SERVING) for pod in apart] if not open_now else back
    marks = PodMarks(routable=False, cordon=Cordon(Cause.FULL, fleet.now.at))
    return back + [(pod, marks) for pod in full]


def released(
    pods: Iterable[PodState], replicas: int, now: Now, *, protects: bool = False
) -> tuple[tuple[PodState, PodMarks], ...]:
    """Return the marks that remove our labels and annotations from every pod.

    For targets that we do not drain: `drain: none`, another autoscaler, a removed policy, a pause.
    protects: whether pods with users stay protected from node autoscalers, as during a pause.
    """
    changes = []
    for pod in remaining(pods, replicas, now):
        protected = protects and needs_protection(pod)
        carries = pod.cordon is not None or pod.cost_is_ours or pod.stray_mark
        if carries or protected != pod.protected:
            routable = pod.routable or pod.cordon is not None
            changes.append((pod, PodMarks(routable=routable, protected=protected)))
    return tuple(changes)
