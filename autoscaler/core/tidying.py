"""What pods carry of ours that no step of a drain put there: full pods, leftovers, protection."""

from __future__ import annotations

from collections.abc import Iterable

from autoscaler.core.fleet import Fleet, remaining
from autoscaler.core.fullness import has_room, is_full
from autoscaler.core.vacancy import is_apart, needs_protection
from autoscaler.model import Cause, Cordon, DrainPlan, PodNote, PodState

SERVING = PodNote(routable=True)


def tidied(fleet: Fleet, plan: DrainPlan) -> DrainPlan:
    """The plan, with full pods set apart, others brought back, and leftovers removed."""
    planned = {pod.uid for pod, _ in plan.notes} | {pod.uid for pod in plan.remove}
    notes = [*plan.notes, *_full_pods(fleet, planned)]
    planned |= {pod.uid for pod, _ in notes}
    for pod in fleet.pods:
        if pod.uid not in planned:
            right = _right_note(fleet, pod)
            if right != _carried(pod) or pod.stray_mark or needs_protection(pod) != pod.protected:
                notes.append((pod, right))
    protected = tuple((pod, note._replace(protected=needs_protection(pod))) for pod, note in notes)
    return DrainPlan(plan.replicas, protected, plan.remove, plan.steps)


def _carried(pod: PodState) -> PodNote:
    return PodNote(pod.routable, pod.cordon, pod.deletion_cost if pod.cost_is_ours else None)


def _right_note(fleet: Fleet, pod: PodState) -> PodNote:
    """What a pod should carry that the plan does not touch: no mark but on a vacated one.

    A cordon from the future was written before the clock was set back.
    """
    carried = _carried(pod)
    if pod.routable:
        return SERVING
    if not fleet.vacated(pod):  # somebody came back before it went
        carried = carried._replace(cost=None)
    if pod.cordon is not None and pod.cordon.at > fleet.now:
        carried = carried._replace(cordon=pod.cordon._replace(at=fleet.now))
    return carried


def _full_pods(fleet: Fleet, planned: set[str]) -> list[tuple[PodState, PodNote]]:
    """New users go elsewhere while a pod is full, as long as there is a pod with room.

    Not from one without the label: no Service heeds it, and having got it the pod would look as if.
    """
    apart = [pod for pod in fleet.pods if is_apart(pod) and pod.uid not in planned]
    back = [(pod, SERVING) for pod in apart if has_room(pod, fleet.policy)]
    open_now = [p for p in fleet.serving if p.uid not in planned and p.serving]
    full = [pod for pod in open_now if pod.labelled and is_full(pod, fleet.policy)]
    if len(full) == len(open_now):  # the last ones stay open
        return [(pod, SERVING) for pod in apart] if not open_now else back
    note = PodNote(routable=False, cordon=Cordon(Cause.HOT, fleet.now))
    return back + [(pod, note) for pod in full]


def released(
    pods: Iterable[PodState], replicas: int, now: float
) -> tuple[tuple[PodState, PodNote], ...]:
    """Takes back everything that pods carry of ours, where drains are not ours to make."""
    return tuple(
        (pod, PodNote(routable=pod.routable or pod.cordon is not None))
        for pod in remaining(pods, replicas, now)
        if pod.cordon is not None or pod.cost_is_ours or pod.stray_mark or pod.protected
    )
