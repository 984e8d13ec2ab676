"""Shrinking without ending a session: which pods get no new users, and which are gone next.

    serving ──cordon──> cordoned ──users have left──> vacated ──mark──> marked ──scale──> removed
       ^                    |                            |                 |
       └───────── uncordon: load returned, or the pod has room again ──────┘

One pass makes one step, from what the pods themselves carry (labels and annotations), so a daemon
that starts anew goes on where the last one stopped. `DrainPlan.notes` are the arrows, and
`DrainPlan.replicas` is lowered only by pods that are marked, still empty by their own sidecars'
word, and certain to be the ones that the ReplicaSet removes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from autoscaler.core.deletion_order import deletion_order, first_to_go
from autoscaler.core.fleet import Fleet, fleet_of
from autoscaler.core.fullness import is_heavy
from autoscaler.core.schedule import Bounds
from autoscaler.core.tidying import SERVING, tidied
from autoscaler.core.vacancy import (
    LOWEST_COST,
    is_apart,
    is_empty,
    is_foreign,
    is_marked,
    never_served,
    users,
)
from autoscaler.model import (
    Cause,
    Cordon,
    DrainPlan,
    Observation,
    PodNote,
    PodState,
    Reason,
    Step,
)
from autoscaler.policy import Drain, Policy

TOLD_PODS = 5  # by name in one line


def plan(
    policy: Policy,
    drain: Drain,
    observed: Observation,
    wanted: int,
    needed: int | None,
    bounds: Bounds,
    now: float,
) -> DrainPlan:
    """The next step towards `wanted` replicas.

    wanted: after windows, limits and holds; the present number where anything is in doubt.
    needed: what the metrics ask for at this moment, None where none says. Cordoned pods come back
    for it before any pod is created.
    """
    fleet = fleet_of(policy, drain, observed, now)
    asked = max(fleet.staying, bounds.min) if needed is None else needed
    goal = wanted if wanted > fleet.current else min(wanted, asked)
    if fleet.leaving and not fleet.is_open:
        goal = max(goal, fleet.staying + 1)  # new users find nobody: one that leaves comes back
    if goal > fleet.staying:
        return tidied(fleet, _grow(fleet, goal, bounds))
    # Not by what is wanted: a hold that keeps the surplus pod would ask for one more, and again.
    if fleet.due and fleet.is_complete and needed is not None and needed >= fleet.staying:
        return tidied(fleet, _surge(fleet, bounds))
    return tidied(fleet, _shrink(fleet, wanted))


def _grow(fleet: Fleet, goal: int, bounds: Bounds) -> DrainPlan:
    """Cordoned pods first, of those that serve the ones with the most users; new ones for the rest.

    One full of memory is no help, unless there is no other; one that does not say may be full.
    """

    def rank(pod: PodState) -> tuple[bool, float]:
        return pod.serving, -1.0 if users(pod) == inf else users(pod)

    helpful = [pod for pod in fleet.leaving if not (fleet.is_open and is_heavy(pod, fleet.policy))]
    back = sorted(helpful, key=rank, reverse=True)[: goal - fleet.staying]
    create = goal - fleet.staying - len(back)
    replicas = max(fleet.current, min(fleet.current + create, bounds.max))
    steps: tuple[Step, ...] = ()
    if back:
        detail = f"load returned: {_names(back)} may have users again"
        steps = (Step(Reason.UNCORDONED, replicas, detail),)
    elif replicas > max(goal, fleet.current):
        detail = f"{goal} wanted beside {_names(fleet.leaving)}, which drains and is full of memory"
        steps = (Step(Reason.SESSIONS_STILL_OPEN, replicas, detail),)
    return DrainPlan(replicas, tuple((pod, SERVING) for pod in back), steps=steps)


def _surge(fleet: Fleet, bounds: Bounds) -> DrainPlan:
    """One pod more before a worn one goes; the surplus is then that one."""
    due = fleet.due[0].name
    if fleet.current >= bounds.max:
        detail = f"{due} is due for recycling, but {bounds.max} replicas are the most"
        return DrainPlan(fleet.current, steps=(Step(Reason.RECYCLING, fleet.current, detail),))
    more = fleet.current + 1
    detail = f"one more, to replace {due}, which is due for recycling"
    return DrainPlan(more, steps=(Step(Reason.RECYCLING, more, detail),))


def _shrink(fleet: Fleet, wanted: int) -> DrainPlan:
    """Cordon what is too many, mark what is empty, remove what is marked."""
    cordoned = _victims(fleet, wanted)
    note = PodNote(routable=False, cordon=Cordon(Cause.SHRINK, fleet.now))
    notes = [(pod, note) for pod in cordoned]
    allowed = max(0, fleet.current - wanted)
    vacated = [pod for pod in fleet.leaving if fleet.vacated(pod)]
    marked = [pod for pod in vacated if is_marked(pod)]
    excess = marked[allowed:] if allowed else []
    notes += [(pod, PodNote(False, pod.cordon)) for pod in excess]
    problem = _obstacle(fleet) if vacated and allowed else None
    remove: list[PodState] = []
    if problem is None and allowed and not excess:
        remove, problem = _removable(fleet, marked)
        if not remove:  # a mark made now would change the order that was just looked at
            fresh = [pod for pod in vacated if not is_marked(pod)][: allowed - len(marked)]
            notes += [(pod, PodNote(False, pod.cordon, LOWEST_COST)) for pod in fresh]
    replicas = fleet.current - len(remove)
    if problem is not None:
        return DrainPlan(replicas, tuple(notes), steps=(problem,))
    steps = _told(fleet, wanted, replicas, cordoned, remove)
    return DrainPlan(replicas, tuple(notes), tuple(remove), steps)


def _victims(fleet: Fleet, wanted: int) -> list[PodState]:
    """Whom to cordon now.

    A worn pod, pods that never served, then those with the fewest users, the youngest first. A pod
    that new users can go to stays in any case.
    """
    count = min(len(fleet.pods), fleet.current) - len(fleet.leaving) - wanted
    worn = fleet.due[:1]
    if worn and not fleet.all_serve:  # its successor still starts
        worn, count = (), count - 1
    if count <= 0:
        return _instead(fleet, wanted)

    def rank(pod: PodState) -> tuple[float, ...]:
        age = -(pod.created_at or 0.0)
        new = never_served(pod)
        return pod not in worn, not new, users(pod), pod.serving, pod.routable, age

    ranked = sorted((p for p in fleet.pods if p.routable or is_apart(p)), key=rank)
    serving = (pod for pod in ranked if pod.serving)
    stays = max(serving, key=lambda pod: (pod.routable, rank(pod)), default=None)
    return [pod for pod in ranked if pod is not stays][:count]


def _instead(fleet: Fleet, wanted: int) -> list[PodState]:
    """Pods that never served, in place of as many that wait for their users to leave.

    A ReplicaSet removes them first, so until they are Ready nobody else can go; those come back.
    """
    if wanted >= fleet.current:
        return []
    waiting = sum(not fleet.vacated(pod) for pod in fleet.leaving)
    return [pod for pod in fleet.serving if never_served(pod)][:waiting]


def _obstacle(fleet: Fleet) -> Step | None:
    """Why no pod is marked or removed now, whoever is empty."""
    foreign = next((pod for pod in fleet.pods if is_foreign(pod)), None)
    if foreign is not None:
        who = foreign.cost_writer or "someone else"
        detail = f"hold: {who} writes deletion costs ({foreign.name}): stop it here"
        return Step(Reason.FOREIGN_DELETION_COST, fleet.current, detail)
    if fleet.going:  # a shrink by n then removes more than n pods
        detail = f"hold: the ReplicaSet is yet to remove {fleet.going} pods of an earlier shrink"
        return Step(Reason.DELETION_ORDER_UNCERTAIN, fleet.current, detail)
    return None


def _removable(fleet: Fleet, marked: list[PodState]) -> tuple[list[PodState], Step | None]:
    """The marked pods, if a shrink by their number takes exactly them; or why that is uncertain."""
    if not marked:
        return [], None
    uids = frozenset(pod.uid for pod in marked)
    others = [pod for pod in deletion_order(fleet.pods, fleet.now) if pod.uid not in uids]
    ahead = _overtaken(marked, others)
    if not ahead and first_to_go(fleet.pods, len(marked), fleet.now) == uids:
        return marked, None
    first = next(iter(ahead or others), None)
    state = "not Ready" if first is not None and first.ready is not True else "equal in rank"
    other = "another pod" if first is None else f"{first.name} ({state})"
    detail = f"hold: the ReplicaSet might remove {other} in place of {marked[0].name}"
    return [], Step(Reason.DELETION_ORDER_UNCERTAIN, fleet.current, detail)


def _overtaken(marked: list[PodState], others: list[PodState]) -> list[PodState]:
    """Pods with users that go first once a marked one, which still starts, gets Ready.

    It may be Ready before the ReplicaSet acts, and whoever is not goes first, whatever the marks.
    """
    if all(pod.ready for pod in marked):
        return []
    return [pod for pod in others if pod.ready is not True and not never_served(pod)]


def _told(
    fleet: Fleet,
    wanted: int,
    replicas: int,
    cordoned: Sequence[PodState],
    remove: Sequence[PodState],
) -> tuple[Step, ...]:
    """The line for the log and the Event: who goes now, or who is waited for."""
    late = [pod for pod in remove if not (never_served(pod) or is_empty(pod, fleet.drain))]
    if late:
        count = sum(pod.occupancy.live for pod in late if pod.occupancy)
        detail = f"the drain deadline has passed: {_names(late)} with {count} users"
        return (Step(Reason.DRAIN_DEADLINE_EXCEEDED, replicas, detail),)
    if remove:
        return (Step(Reason.DRAINED, replicas, f"empty and removed: {_names(remove)}"),)
    waiting = [*fleet.leaving, *cordoned]
    if not waiting or wanted >= fleet.current:
        return ()
    told = [f"{pod.name} ({_told_users(pod)})" for pod in waiting]
    more = ", ..." if len(told) > TOLD_PODS else ""
    detail = f"{wanted} wanted, draining {', '.join(told[:TOLD_PODS])}{more}"
    return (Step(Reason.SESSIONS_STILL_OPEN, replicas, detail),)


def _told_users(pod: PodState) -> str:
    count = users(pod)
    return "no answer" if count == inf else f"{max(0, count):g} users"


def _names(pods: Iterable[PodState]) -> str:
    return ", ".join(pod.name for pod in pods)
