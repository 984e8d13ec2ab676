"""Pods in the states of a drain, and what a plan does to them in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoscaler.core.drain.plan import plan_drain
from autoscaler.core.drain.pods import LOWEST_COST
from autoscaler.core.now import Now
from autoscaler.core.schedule import Bounds
from autoscaler.model import Cause, Cordon, DrainPlan, Occupancy, PodState, Sighting, State
from autoscaler.policy import Policy
from tests.builders import NOW, observation, pod, policy

EMPTY = Occupancy(0, empty_for=90)
BUSY = Occupancy(3)


def leaving(name: str, seen: Occupancy | None = EMPTY, ago: float = 60, **more: Any) -> PodState:
    """A pod that was cordoned for a shrink `ago` seconds ago."""
    cordon = more.pop("cordon", Cordon(Cause.SCALE_DOWN, NOW - ago))
    return pod(name, routable=False, cordon=cordon, occupancy=seen, node="a", **more)


def marked(name: str, seen: Occupancy | None = EMPTY, **more: Any) -> PodState:
    return leaving(name, seen, deletion_cost=LOWEST_COST, cost_is_ours=True, **more)


def serving(name: str, sessions: int | None = 5, **more: Any) -> PodState:
    protected = more.pop("protected", bool(sessions))
    return pod(name, sessions=sessions, node="a", protected=protected, **more)


def planned(
    *pods: PodState,
    wanted: int,
    needed: int | None = None,
    rules: Policy | None = None,
    since: Mapping[str, Sighting] | None = None,
    **seen: Any,
) -> DrainPlan:
    rules = rules or policy()
    assert rules.drain is not None
    bounds = Bounds(rules.replicas.min, rules.replicas.max)
    needed = wanted if needed is None else needed
    watched = sightings(*pods) if since is None else since
    state = State(sightings=watched)
    return plan_drain(
        rules, rules.drain, observation(pods=pods, **seen), wanted, needed, bounds, state, Now(NOW)
    )


def sightings(*pods: PodState) -> dict[str, Sighting]:
    """As of a daemon that was there when each pod was cordoned, and saw no other change since."""
    long_ago = NOW - 3_600

    def watched(pod: PodState) -> Sighting:
        cordoned_at = long_ago if pod.cordon is None else pod.cordon.at
        return Sighting((), long_ago, None if pod.routable else "", cordoned_at)

    return {pod.uid: watched(pod) for pod in pods}


def told(result: DrainPlan) -> dict[str, str]:
    """What the notes mean, by pod."""
    words = {}
    for each, note in result.marks:
        if note.cost is not None:
            words[each.name] = "mark"
        elif note.routable:
            words[each.name] = "uncordon" if not each.routable else "tidy"
        elif note.cordon is not None and note.cordon != each.cordon:
            words[each.name] = f"cordon {note.cordon.cause}"
        else:
            words[each.name] = "unmark"
    return words
