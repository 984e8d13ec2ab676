"""Scale down without ending a session: which pods are cordoned, and which are deleted next.

    serving ──cordon──> cordoned ──no session left──> drained ──mark──> marked ──scale──> deleted
       ^                    |                            |                 |
       └───────── uncordon: load returned, or the pod has room again ──────┘

One pass makes one step, from what the pods themselves carry (labels and annotations), so a daemon
that starts anew continues where the last one stopped. `DrainPlan.marks` are the arrows, and
`DrainPlan.replicas` is lowered only by pods that are marked, still drained as reported by their
sidecars, and certain to be the ones that the ReplicaSet deletes.
"""

from __future__ import annotations

from collections.abc import Iterable

from autoscaler.core.drain.cleanup import SERVING, with_cleanup
from autoscaler.core.drain.deletion_order import deletion_order, first_to_go
from autoscaler.core.drain.fleet import Fleet, fleet_of
from autoscaler.core.drain.packing import Landing, with_packing
from autoscaler.core.drain.pods import (
    ACTIVE_WITHIN,
    LOWEST_COST,
    has_foreign_cost,
    is_draining,
    is_due_for_recycling,
    is_marked,
    is_near_memory_limit,
    never_served,
)
from autoscaler.core.drain.progress import idle, sessions_told, told, waited
from autoscaler.core.drain.scale_up import grow, room, surge
from autoscaler.core.drain.sightings import too_fresh
from autoscaler.core.drain.stragglers import exchange, is_straggling
from autoscaler.core.now import Now
from autoscaler.core.schedule import Bounds
from autoscaler.model import (
    Cause,
    Cordon,
    DrainPlan,
    Observation,
    PodMarks,
    PodState,
    Reason,
    State,
    Step,
)
from autoscaler.policy import Drain, Policy
from autoscaler.units import counted, duration_text

# Recycling waits for idle sessions as long as it takes until an Event names them, in seconds.
LEAST_PATIENCE, USUAL_PATIENCE = 300.0, 3_600.0


def plan_drain(
    policy: Policy,
    drain: Drain,
    observed: Observation,
    wanted: int,
    needed: int | None,
    bounds: Bounds,
    state: State,
    now: Now,
    landing: Landing | None = None,
) -> DrainPlan:
    """Return the next step towards `wanted` replicas.

    wanted: after windows, limits and holds. needed: what the metrics ask for at this moment; None
    if no metric has a number. Cordoned pods are uncordoned for it before any pod is created.
    landing: what new users need; None: all pods that stay are open to them.
    """
    fleet = fleet_of(policy, drain, observed, state, now)
    next_step = with_packing(fleet, _next_step(fleet, wanted, needed, bounds, state), landing)
    next_step = with_cleanup(fleet, next_step)
    words, named = idle(fleet, state.told)
    return next_step._replace(idle=words, named=named) if words or named else next_step


def _next_step(
    fleet: Fleet, wanted: int, needed: int | None, bounds: Bounds, state: State
) -> DrainPlan:
    asked = max(fleet.staying, bounds.min) if needed is None else needed
    goal = wanted if wanted > fleet.current else min(wanted, asked)
    if fleet.returnable and not fleet.is_open:
        goal = max(goal, fleet.staying + 1)  # no pod accepts new sessions: uncordon one
    if goal > fleet.staying:
        return grow(fleet, goal, room(fleet.policy, bounds, state, fleet.current, fleet.now))
    # Not by `wanted`: a hold that keeps the surplus pod would add one more in every pass.
    if fleet.due and fleet.is_complete and needed is not None and needed >= fleet.staying:
        return surge(fleet, room(fleet.policy, bounds, state, fleet.current, fleet.now))
    return _scale_down(fleet, wanted, fleet.staying - goal)


def _scale_down(fleet: Fleet, wanted: int, spare: int) -> DrainPlan:
    """Cordon surplus pods, mark drained ones, and delete marked ones.

    spare: how many of the replicas that are not being drained are not needed.
    """
    allowed = fleet.current - wanted
    if allowed <= 0:
        return DrainPlan(fleet.current, steps=told(fleet, wanted, fleet.current, fleet.leaving))
    stuck, following = _next_due(fleet)
    cordoned = _victims(fleet, wanted) + following
    if not cordoned:
        stuck, cordoned = exchange(fleet)
    marks = PodMarks(routable=False, cordon=Cordon(Cause.SCALE_DOWN, fleet.now.at))
    changes = [*((pod, SERVING) for pod in stuck), *((pod, marks) for pod in cordoned)]
    drained = [pod for pod in fleet.leaving if fleet.is_drained(pod)]
    marked = [pod for pod in drained if is_marked(pod)]
    excess = marked[allowed:]
    changes += [(pod, PodMarks(False, pod.cordon)) for pod in excess]
    problem = _obstacle(fleet) if drained else None
    remove: list[PodState] = []
    wait = ""
    if problem is None and not excess:
        remove, problem = _removable(fleet, marked)
        wait = too_fresh(fleet.seen, fleet.pods, fleet.now) if remove else ""
        if wait:
            remove = []
        elif not remove:  # a mark made now would change the order that was just looked at
            fresh = [pod for pod in drained if not is_marked(pod)][: allowed - len(marked)]
            changes += [(pod, PodMarks(False, pod.cordon, LOWEST_COST)) for pod in fresh]
    if problem is not None:
        return DrainPlan(fleet.current, tuple(changes), steps=(problem,))
    # One of those without a pod may be the replacement of a pod that is due for recycling.
    unmade = max(0, min(fleet.unmade - bool(fleet.due), allowed - len(remove), spare))
    replicas = fleet.current - len(remove) - unmade
    waiting = [*(pod for pod in fleet.leaving if pod not in stuck), *cordoned]
    steps = told(fleet, wanted, replicas, waiting, remove, wait)
    if following:
        steps = (_passed_over(fleet, stuck[0], following[0], replicas), *steps)
    return DrainPlan(replicas, tuple(changes), tuple(remove), steps)


def _next_due(fleet: Fleet) -> tuple[list[PodState], list[PodState]]:
    """Return a pod whose recycling waits for idle sessions, and the next one that is due.

    Its sessions may never end, so it serves again and the others follow, one after the other by
    age, with one replica more than needed in all.
    """
    recycle = fleet.policy.recycle
    if recycle is None or not fleet.due or not fleet.all_serve:
        return [], []
    for pod in fleet.returnable:
        if is_due_for_recycling(pod, recycle, fleet.now) and _is_stuck(fleet, pod):
            older = [each for each in fleet.due if (each.created_at or 0.0) > (pod.created_at or 0)]
            return [pod], [(older or list(fleet.due))[0]]
    return [], []


def _is_stuck(fleet: Fleet, pod: PodState) -> bool:
    """Whether only idle sessions have kept the pod for long, and it can serve new ones."""
    seen = pod.occupancy
    patience = max(LEAST_PATIENCE, fleet.drain.tell or USUAL_PATIENCE)
    if seen is None or not seen.live or seen.opening:
        return False
    if not fleet.now.has_lasted(waited(fleet, pod), patience):
        return False
    is_idle = seen.idle_for is None or fleet.now.has_lasted(seen.idle_for, ACTIVE_WITHIN)
    return is_idle and pod.serving and not is_near_memory_limit(pod, fleet.policy)


def _passed_over(fleet: Fleet, stuck: PodState, following: PodState, replicas: int) -> Step:
    detail = (
        f"recycling {following.name} in place of {stuck.name}, which has waited for "
        f"{sessions_told(stuck)} for {duration_text(round(waited(fleet, stuck)))}"
    )
    return Step(Reason.RECYCLING, replicas, detail)


def _victims(fleet: Fleet, wanted: int) -> list[PodState]:
    """Return the pods to cordon now.

    First a pod that is due for recycling, then pods that never served, then those with the fewest
    sessions, the youngest first, and last those with a session that outlasts the others by far. At
    least one pod that accepts new sessions is kept.
    """
    count = min(len(fleet.pods), fleet.current) - len(fleet.leaving) - wanted
    due = fleet.due[:1]
    if due and not fleet.all_serve:  # its successor still starts
        due, count = [], count - 1
    if count <= 0:
        return _swap_for_unstarted_pods(fleet, wanted)

    def rank(pod: PodState) -> tuple[float, ...]:
        age = -(pod.created_at or 0.0)
        new = never_served(pod)
        late = is_straggling(fleet, pod)
        return pod not in due, not new, late, fleet.lasts(pod), pod.serving, pod.routable, age

    ranks = {p.uid: rank(p) for p in fleet.pods if not is_draining(p)}
    ranked = sorted((p for p in fleet.pods if p.uid in ranks), key=lambda pod: ranks[pod.uid])
    serving = (pod for pod in ranked if pod.serving)
    stays = max(serving, key=lambda pod: (pod.routable, ranks[pod.uid]), default=None)
    return [pod for pod in ranked if pod is not stays][:count]


def _swap_for_unstarted_pods(fleet: Fleet, wanted: int) -> list[PodState]:
    """Return pods that never served, to be deleted instead of as many that still have sessions.

    A ReplicaSet deletes them first, so until they are Ready no other pod can be deleted.
    """
    new = [pod for pod in fleet.serving if never_served(pod)]
    if not new or wanted >= fleet.current:
        return []
    waiting = sum(not fleet.is_drained(pod) for pod in fleet.leaving)
    return new[:waiting]


def _obstacle(fleet: Fleet) -> Step | None:
    """Return why no pod is marked or deleted now, even if one is drained."""
    if foreign := foreign_cost(fleet.pods, fleet.current):
        return foreign
    if fleet.going:  # a scale-down by n then removes more than n pods
        count = counted(fleet.going, "pod")
        detail = f"waiting for the ReplicaSet to delete {count} from the previous scale-down"
        return Step(Reason.DELETION_ORDER_UNCERTAIN, fleet.current, detail)
    return None


def foreign_cost(pods: Iterable[PodState], current: int) -> Step | None:
    """Return the hold that follows from deletion costs which somebody else writes; None if none."""
    foreign = next((pod for pod in pods if has_foreign_cost(pod)), None)
    if foreign is None:
        return None
    who = foreign.cost_writer or "another program"
    detail = (
        f"not scaling down: {who} sets controller.kubernetes.io/pod-deletion-cost on "
        f"{foreign.name}; turn that off for this Deployment"
    )
    return Step(Reason.FOREIGN_DELETION_COST, current, detail)


def _removable(fleet: Fleet, marked: list[PodState]) -> tuple[list[PodState], Step | None]:
    """Return the marked pods if a scale-down by their number deletes exactly these, or why not."""
    if not marked:
        return [], None
    fleet.now.holds_only_now()  # ages can change the order at any time
    uids = frozenset(pod.uid for pod in marked)
    others = [pod for pod in deletion_order(fleet.pods, fleet.now.at) if pod.uid not in uids]
    ahead = _would_be_deleted_first(marked, others)
    if not ahead and first_to_go(fleet.pods, len(marked), fleet.now.at) == uids:
        return marked, None
    first = next(iter(ahead or others), None)
    state = "not Ready" if first is not None and first.ready is not True else "equal in rank"
    other = "another pod" if first is None else f"{first.name} ({state})"
    detail = f"not scaling down: the ReplicaSet could delete {other} instead of {marked[0].name}"
    return [], Step(Reason.DELETION_ORDER_UNCERTAIN, fleet.current, detail)


def _would_be_deleted_first(marked: list[PodState], others: list[PodState]) -> list[PodState]:
    """Return pods with sessions that are not Ready, if a marked pod is still starting.

    Should the marked pod become Ready first, these would be deleted before it, whatever the marks.
    """
    if all(pod.ready for pod in marked):
        return []
    return [pod for pod in others if pod.ready is not True and not never_served(pod)]
