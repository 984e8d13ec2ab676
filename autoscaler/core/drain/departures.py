"""Which sessions ended with the pods that a scale-down removed: counted when the pods are gone.

What was believed of a pod when it was chosen is no count of what happened to it afterwards: a
session may come in the last moment, and one that was there may leave by itself while the launcher
waits for it. So a removed pod is followed until it is gone, and its launcher or sidecar has the
last word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from autoscaler.core.drain.pods import sessions_of
from autoscaler.model import Departing, Observation, PodState, Reason, Removal, State


def begin(state: State, remove: Iterable[PodState], now: float) -> State:
    """Follow pods that a scale-down is to remove, from before it is made."""
    new = {pod.uid: Departing(pod.name, sessions_of(pod), now, _why(pod)) for pod in remove}
    return state._replace(departing={**state.departing, **new}) if new else state


def begin_unchosen(state: State, expected: Removal, observed: Observation, now: float) -> State:
    """Follow pods that went although others had been chosen, with the sessions they had then."""
    there = {pod.uid: pod for pod in observed.pods}
    gone = [uid for uid in expected.others if uid not in there or there[uid].deleting]
    new = {
        uid: Departing(
            there[uid].name if uid in there else uid,
            expected.others[uid],
            now,
            Reason.VICTIM_MISMATCH,
        )
        for uid in gone
    }
    return state._replace(departing={**state.departing, **new}) if new else state


def follow(state: State, observed: Observation) -> tuple[tuple[Departing, ...], State]:
    """Those that are gone now, and the state without them.

    A pod that stays although no scale-down waits for it any more is not followed further: somebody
    took the scale-down back.
    """
    if not state.departing:
        return (), state
    there = {pod.uid: pod for pod in observed.pods}
    told = {
        uid: each._replace(sessions=observed.farewells.get(uid, each.sessions))
        for uid, each in state.departing.items()
    }
    ended = tuple(each for uid, each in told.items() if uid not in there)
    waited_for: Mapping[str, int] = state.removal.victims if state.removal else {}
    left = {
        uid: each
        for uid, each in told.items()
        if uid in there and (there[uid].deleting or uid in waited_for)
    }
    return ended, state._replace(departing=left)


def _why(pod: PodState) -> Reason:
    """Only a deadline takes a pod whose sidecar says that somebody is there, or says nothing."""
    seen = pod.occupancy
    is_late = pod.ready is not None and (seen is None or seen.empty_for is None)
    return Reason.DRAIN_DEADLINE_EXCEEDED if is_late else Reason.DRAINED
