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
from dataclasses import dataclass, field
from math import inf

from autoscaler.core.deletion_order import deletion_order, first_to_go, is_active
from autoscaler.core.fullness import has_room, is_full, is_worn
from autoscaler.core.schedule import Bounds
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

# The lowest deletion cost goes first; one above the int32 minimum, which Karpenter writes.
LOWEST_COST = -(2**31) + 1
# A client that said something within this time is at work, and its deadline is pushed out.
ACTIVE_WITHIN = 300.0
# A session without a user whose work must not be cut holds its pod for so long.
BLOCKED_FOR = 600.0
TOLD_PODS = 5  # by name in one line

SERVING = PodNote(routable=True)


@dataclass(frozen=True, slots=True)
class _Fleet:
    """The target's active pods, sorted out once. current: spec.replicas."""

    policy: Policy
    drain: Drain
    now: float
    current: int
    pods: tuple[PodState, ...]
    serving: tuple[PodState, ...] = field(init=False)
    leaving: tuple[PodState, ...] = field(init=False)

    def __post_init__(self) -> None:
        # Frozen for the reader; derived once.
        object.__setattr__(self, "serving", tuple(p for p in self.pods if p.routable))
        object.__setattr__(self, "leaving", tuple(p for p in self.pods if is_leaving(p)))

    @property
    def staying(self) -> int:
        """Replicas that are there, or are being made, and are not on their way out."""
        return self.current - len(self.leaving)

    @property
    def is_complete(self) -> bool:
        """Whether every replica is there and Ready, and none leaves."""
        all_there = len(self.pods) == self.current and not self.leaving
        return all_there and all(pod.serving for pod in self.serving)

    def vacated(self, pod: PodState) -> bool:
        return is_vacated(pod, self.drain, self.now)


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
    pods = tuple(pod for pod in observed.pods if is_active(pod))
    fleet = _Fleet(policy, drain, now, observed.replicas, pods)
    asked = fleet.staying if needed is None else needed
    goal = wanted if wanted > fleet.current else min(wanted, asked)
    if fleet.leaving and not any(pod.serving for pod in fleet.serving):
        goal = max(goal, fleet.staying + 1)  # new users find nobody: one that leaves comes back
    if goal > fleet.staying:
        return _tidied(fleet, _grow(fleet, goal, bounds))
    due = _due_for_recycling(fleet)
    if due and fleet.is_complete and needed is not None and wanted >= fleet.staying:
        return _tidied(fleet, _surge(fleet, due[0], bounds))
    return _tidied(fleet, _shrink(fleet, wanted, due))


def is_leaving(pod: PodState) -> bool:
    """Whether we cordoned the pod to remove it."""
    return not pod.routable and pod.cordon is not None and pod.cordon.cause is Cause.SHRINK


def is_marked(pod: PodState) -> bool:
    """Whether we put the pod first in its ReplicaSet's deletion order."""
    return pod.cost_is_ours and pod.deletion_cost == LOWEST_COST


def is_vacated(pod: PodState, drain: Drain, now: float) -> bool:
    """Whether a cordoned pod may go: its users have left, or a deadline for them has passed."""
    if pod.cordon is None:
        return False
    if never_served(pod):
        return True
    since = now - pod.cordon.at
    if since < drain.settle:
        return False
    if drain.hard_deadline is not None and since >= drain.hard_deadline:
        return True
    return is_empty(pod, drain) or _is_overdue(pod, drain, since)


def is_empty(pod: PodState, drain: Drain) -> bool:
    """Nobody is there, on the way, or about to reconnect, by the sidecar's own word."""
    seen = pod.occupancy
    if seen is None or seen.live or seen.opening:
        return False
    quiet = inf if seen.quiet_for is None else seen.quiet_for
    return quiet >= (max(drain.reconnect, BLOCKED_FOR) if seen.blocked else drain.reconnect)


def _is_overdue(pod: PodState, drain: Drain, since: float) -> bool:
    """The soft deadline has passed and nobody there has done anything for a while."""
    seen = pod.occupancy
    if drain.deadline is None or since < drain.deadline or seen is None:
        return False
    return not seen.opening and seen.idle_for is not None and seen.idle_for >= ACTIVE_WITHIN


def never_served(pod: PodState) -> bool:
    """Whether no Service has ever sent a user to the pod."""
    return pod.phase == "Pending" or pod.ready is None


def _grow(fleet: _Fleet, goal: int, bounds: Bounds) -> DrainPlan:
    """Cordoned pods first, those with the most users before others; new pods for the rest."""
    by_users = sorted(fleet.leaving, key=_users, reverse=True)
    back = by_users[: goal - fleet.staying]
    create = goal - fleet.staying - len(back)
    replicas = max(fleet.current, min(fleet.current + create, bounds.max))
    detail = f"load returned: {_names(back)} may have users again"
    steps = (Step(Reason.UNCORDONED, replicas, detail),) if back else ()
    return DrainPlan(replicas, tuple((pod, SERVING) for pod in back), steps=steps)


def _surge(fleet: _Fleet, due: PodState, bounds: Bounds) -> DrainPlan:
    """One pod more before a worn one goes; the surplus is then that one."""
    if fleet.current >= bounds.max:
        detail = f"{due.name} is due for recycling, but {bounds.max} replicas are the most"
        return DrainPlan(fleet.current, steps=(Step(Reason.RECYCLING, fleet.current, detail),))
    more = fleet.current + 1
    detail = f"one more, to replace {due.name}, which is due for recycling"
    return DrainPlan(more, steps=(Step(Reason.RECYCLING, more, detail),))


def _shrink(fleet: _Fleet, wanted: int, due: Sequence[PodState]) -> DrainPlan:
    """Cordon what is too many, mark what is empty, remove what is marked."""
    surplus = len(fleet.pods) - len(fleet.leaving) - wanted
    cordoned = _victims(fleet, surplus, due)
    note = PodNote(routable=False, cordon=Cordon(Cause.SHRINK, fleet.now))
    notes = [(pod, note) for pod in cordoned]
    allowed = fleet.current - wanted
    vacated = [pod for pod in fleet.leaving if fleet.vacated(pod)]
    marked = [pod for pod in vacated if is_marked(pod)]
    excess = marked[allowed:] if allowed > 0 else []
    notes += [(pod, PodNote(False, pod.cordon)) for pod in excess]
    remove, problem = _removable(fleet, marked if allowed > 0 and not excess else [])
    if not remove:  # a mark made now would change the order that was just looked at
        fresh = [pod for pod in vacated if not is_marked(pod)][: max(0, allowed - len(marked))]
        notes += [(pod, PodNote(False, pod.cordon, LOWEST_COST)) for pod in fresh]
    replicas = fleet.current - len(remove)
    if problem is not None:
        return DrainPlan(replicas, tuple(notes), steps=(problem,))
    steps = _told(fleet, wanted, replicas, cordoned, remove)
    return DrainPlan(replicas, tuple(notes), tuple(remove), steps)


def _victims(fleet: _Fleet, count: int, due: Sequence[PodState]) -> list[PodState]:
    """Worn pods, pods that never served, then those with the fewest users, the youngest first.

    A pod that serves stays in any case: with none, new users would get nothing.
    """
    if count <= 0 or (due and not all(pod.serving for pod in fleet.serving)):
        return []
    worn = {pod.uid for pod in due}

    def rank(pod: PodState) -> tuple[float, ...]:
        age = -(pod.created_at or 0.0)
        return pod.uid not in worn, not never_served(pod), _users(pod), pod.serving, age

    ranked = sorted(fleet.serving, key=rank)
    chosen = ranked[:count]
    kept = [pod for pod in ranked[count:] if pod.serving]
    return chosen if kept else [pod for pod in chosen if not pod.serving]


def _users(pod: PodState) -> float:
    """Sessions, by the pod's own word where it was asked; without one it is full."""
    if pod.occupancy is not None:
        return pod.occupancy.live + pod.occupancy.opening
    if pod.sessions is not None:
        return pod.sessions.value
    return -1.0 if never_served(pod) else inf


def _removable(fleet: _Fleet, marked: list[PodState]) -> tuple[list[PodState], Step | None]:
    """The marked pods, if a shrink by their number takes exactly them; or why that is uncertain."""
    if not marked:
        return [], None
    foreign = [p for p in fleet.pods if p.deletion_cost is not None and not p.cost_is_ours]
    if foreign:
        detail = f"hold: someone else writes deletion costs ({foreign[0].name}): stop it here"
        return [], Step(Reason.FOREIGN_DELETION_COST, fleet.current, detail)
    surplus = len(fleet.pods) - fleet.current
    if surplus > 0:  # a shrink by n then removes n + surplus pods
        detail = f"hold: the ReplicaSet is yet to remove {surplus} pods of an earlier shrink"
        return [], Step(Reason.DELETION_ORDER_UNCERTAIN, fleet.current, detail)
    uids = frozenset(pod.uid for pod in marked)
    if first_to_go(fleet.pods, len(marked), fleet.now) == uids:
        return marked, None
    first = next((p for p in deletion_order(fleet.pods, fleet.now) if p.uid not in uids), None)
    state = "not Ready" if first is not None and first.ready is not True else "equal in rank"
    who = "another pod" if first is None else f"{first.name} ({state})"
    detail = f"hold: the ReplicaSet might remove {who} in place of {marked[0].name}"
    return [], Step(Reason.DELETION_ORDER_UNCERTAIN, fleet.current, detail)


def _told(
    fleet: _Fleet,
    wanted: int,
    replicas: int,
    cordoned: Sequence[PodState],
    remove: Sequence[PodState],
) -> tuple[Step, ...]:
    """The line for the log and the Event: who goes now, or who is waited for."""
    late = [pod for pod in remove if not (never_served(pod) or is_empty(pod, fleet.drain))]
    if late:
        users = sum(pod.occupancy.live for pod in late if pod.occupancy)
        detail = f"the drain deadline has passed: {_names(late)} with {users} users"
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
    users = _users(pod)
    return "no answer" if users == inf else f"{max(0, users):g} users"


def _names(pods: Iterable[PodState]) -> str:
    return ", ".join(pod.name for pod in pods)


def _due_for_recycling(fleet: _Fleet) -> list[PodState]:
    """Serving pods over the age or the memory of the policy, the worst first."""
    recycle = fleet.policy.recycle
    if recycle is None:
        return []
    worn = [pod for pod in fleet.serving if pod.serving and is_worn(pod, recycle, fleet.now)]
    return sorted(worn, key=lambda pod: pod.created_at or 0.0)


def _tidied(fleet: _Fleet, plan: DrainPlan) -> DrainPlan:
    """The plan, with full pods set apart, others brought back, and leftovers removed."""
    planned = {pod.uid for pod, _ in plan.notes} | {pod.uid for pod in plan.remove}
    notes = [*plan.notes, *_full_pods(fleet, planned)]
    for pod in fleet.pods:
        if pod.uid in planned:
            continue
        if pod.routable and (pod.cost_is_ours or pod.cordon is not None):
            notes.append((pod, SERVING))
        elif pod.cost_is_ours and not fleet.vacated(pod):  # somebody came back before it went
            notes.append((pod, PodNote(False, pod.cordon)))
    noted = {pod.uid for pod, _ in notes} | planned
    notes += [
        (pod, PodNote(pod.routable, pod.cordon, pod.deletion_cost if pod.cost_is_ours else None))
        for pod in fleet.pods
        if pod.uid not in noted and needs_protection(pod) != pod.protected
    ]
    protected = tuple((pod, note._replace(protected=needs_protection(pod))) for pod, note in notes)
    return DrainPlan(plan.replicas, protected, plan.remove, plan.steps)


def needs_protection(pod: PodState) -> bool:
    """Whether node autoscalers must leave the pod alone: it has users, or it had and is silent.

    Only while it has, for a pod that is protected for ever keeps its node for ever.
    """
    users = _users(pod)
    return pod.protected if users == inf else users > 0


def _full_pods(fleet: _Fleet, planned: set[str]) -> list[tuple[PodState, PodNote]]:
    """New users go elsewhere while a pod is full, as long as there is a pod with room."""
    apart = [p for p in fleet.pods if p.cordon is not None and p.cordon.cause is Cause.HOT]
    back = [(pod, SERVING) for pod in apart if has_room(pod, fleet.policy)]
    open_now = [p for p in fleet.serving if p.uid not in planned and p.serving]
    full = [pod for pod in open_now if is_full(pod, fleet.policy)]
    if len(full) == len(open_now):  # the last ones stay open
        return [(pod, SERVING) for pod in apart] if not open_now else back
    note = PodNote(routable=False, cordon=Cordon(Cause.HOT, fleet.now))
    return back + [(pod, note) for pod in full]
