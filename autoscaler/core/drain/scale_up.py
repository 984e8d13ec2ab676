"""Add replicas for load, and to replace pods that accept no new sessions and cannot be reused.

Every addition obeys `behavior`, the cooldown and the maximum, or says why there is no more.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from autoscaler.core.drain.cleanup import SERVING
from autoscaler.core.drain.fleet import Fleet
from autoscaler.core.drain.pods import is_near_memory_limit, users
from autoscaler.core.drain.progress import names
from autoscaler.core.drain.stragglers import is_straggling
from autoscaler.core.hpa import behavior
from autoscaler.core.now import Now
from autoscaler.core.schedule import Bounds
from autoscaler.model import DrainPlan, PodState, Reason, State, Step
from autoscaler.policy import Policy
from autoscaler.units import duration_text


class Room(NamedTuple):
    """How far the replica count may rise now. most: that many; reason, why: what sets it.

    steady: the lowest number of the scale-up window; a peak in it is no reason to add replicas.
    """

    most: int
    reason: Reason
    why: str
    steady: float = inf


def room(policy: Policy, bounds: Bounds, state: State, current: int, now: Now) -> Room:
    """What the maximum, the cooldown and the scale-up rules of the policy allow."""
    found = Room(bounds.max, Reason.TOO_MANY_REPLICAS, f"replicas.max is {bounds.max}")
    if policy.behavior is not None:
        events = behavior.Events(state.scale_ups, state.scale_downs)
        limit = max(current, behavior.scale_up_limit(current, policy.behavior, events, now))
        up_window, _ = behavior.windows(policy.behavior)
        lately = behavior.within(state.recommendations, up_window, now)
        steady = min((each.replicas for each in lately), default=inf)
        found = found._replace(steady=steady)
        if limit < found.most:
            why = f"behavior.scaleUp allows {limit} replicas now"
            found = found._replace(most=limit, reason=Reason.SCALE_UP_LIMIT, why=why)
    last, rest = state.last_scale_up, policy.cooldown.up
    if last is not None and not now.has_passed(rest, since=last):
        why = f"cooldown.up lasts for {duration_text(round(rest - (now.at - last)))} more"
        found = found._replace(most=current, reason=Reason.COOLDOWN_UP, why=why)
    return found


def grow(fleet: Fleet, goal: int, limit: Room) -> DrainPlan:
    """Uncordon pods first, of those that serve the ones with the most sessions; add the rest.

    A pod close to its memory limit is uncordoned only if there is no other, and one that somebody
    cordoned by hand never. A pod whose sidecar does not answer may be full.
    """

    def rank(pod: PodState) -> tuple[bool, bool, float]:
        known = -1.0 if users(pod) == inf else fleet.lasts(pod)
        return pod.serving, is_straggling(fleet, pod), known

    helpful = [
        p for p in fleet.returnable if not (fleet.is_open and is_near_memory_limit(p, fleet.policy))
    ]
    back = sorted(helpful, key=rank, reverse=True)[: goal - fleet.staying]
    lasting = goal if goal > fleet.current else min(goal, limit.steady)
    create = max(0, int(lasting) - fleet.staying - len(back))
    asked = fleet.current + create
    # What is wanted beyond the present number has been through all limits, and the minimum.
    replicas = max(fleet.current, min(asked, max(limit.most, goal)))
    changes = tuple((pod, SERVING) for pod in back)
    steps = _steps(fleet, goal, back, asked, replicas, limit)
    return DrainPlan(replicas, changes, steps=steps)


def _steps(
    fleet: Fleet, goal: int, back: list[PodState], asked: int, replicas: int, limit: Room
) -> tuple[Step, ...]:
    steps: list[Step] = []
    beside = [pod for pod in fleet.leaving if pod not in back]
    if asked > max(goal, fleet.current):
        detail = f"adding replicas to reach {goal}: {names(beside)} accept no new sessions"
        if replicas < asked:
            steps.append(Step(limit.reason, replicas, f"{detail}, but {limit.why}"))
        else:
            steps.append(Step(Reason.SESSIONS_STILL_OPEN, replicas, detail))
    if back:
        detail = f"load increased: no longer draining {names(back)}"
        steps.append(Step(Reason.UNCORDONED, replicas, detail))
    return tuple(steps)


def surge(fleet: Fleet, limit: Room) -> DrainPlan:
    """Add one replica before a pod is recycled; the surplus pod is then that one."""
    due, current = fleet.due[0].name, fleet.current
    bare = next((pod for pod in fleet.pods if not pod.labelled), None)
    if bare is not None:
        detail = f"cannot recycle {due}: pod {bare.name} has no label bokeh-autoscaler/routable"
        return DrainPlan(current, steps=(Step(Reason.NOT_CORDONABLE, current, detail),))
    if current >= limit.most:
        detail = f"cannot recycle {due}: {limit.why}"
        return DrainPlan(current, steps=(Step(Reason.RECYCLING, current, detail),))
    detail = f"adding one replica to replace {due}, which is due for recycling"
    return DrainPlan(current + 1, steps=(Step(Reason.RECYCLING, current + 1, detail),))
