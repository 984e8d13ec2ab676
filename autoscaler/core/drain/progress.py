"""Describe how far a drain has come, for logs and Events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf

from autoscaler.core.drain.fleet import Fleet
from autoscaler.core.drain.pods import (
    is_cordoned_by_hand,
    is_empty,
    is_free_to_go,
    never_served,
    users,
)
from autoscaler.core.drain.sightings import cordoned_for
from autoscaler.core.now import Now
from autoscaler.model import PodState, Reason, Step
from autoscaler.policy import Drain
from autoscaler.units import counted, duration_text

TOLD_PODS = 5  # by name in one line


def told(
    fleet: Fleet,
    wanted: int,
    replicas: int,
    waiting: Sequence[PodState],
    remove: Sequence[PodState] = (),
    wait: str = "",
) -> tuple[Step, ...]:
    """Describe which pods are deleted now, or which sessions a drain waits for.

    wait: why drained pods are not deleted yet; "" if nothing else keeps them.
    """
    unmade = fleet.current - replicas - len(remove)
    without = f"{counted(unmade, 'replica')} that never had a pod" if unmade else ""
    late = [
        pod for pod in remove if not (never_served(pod) or is_empty(pod, fleet.drain, fleet.now))
    ]
    if late:
        count = sum(pod.occupancy.live for pod in late if pod.occupancy)
        detail = f"drain deadline exceeded: deleting {names(late)} with {counted(count, 'session')}"
        return (Step(Reason.DRAIN_DEADLINE_EXCEEDED, replicas, detail),)
    if remove or unmade:
        gone = [f"deleting drained pods: {names(remove)}"] if remove else []
        gone += [f"removing {without}"] if without else []
        return (Step(Reason.DRAINED, replicas, "; ".join(gone)),)
    if waiting and wanted < fleet.current:
        detail = f"{counted(wanted, 'replica')} wanted, {_listed(fleet, waiting)}"
        detail += f": {wait}" if wait else ""
        return (Step(Reason.SESSIONS_STILL_OPEN, replicas, detail),)
    if any(map(is_cordoned_by_hand, waiting)):
        return (Step(Reason.CORDONED, replicas, _listed(fleet, waiting)),)
    return ()


def _listed(fleet: Fleet, waiting: Sequence[PodState]) -> str:
    described = [f"{pod.name} ({_holds(fleet, pod)}{_how(pod)})" for pod in waiting[:TOLD_PODS]]
    more = ", ..." if len(waiting) > TOLD_PODS else ""
    return f"draining {', '.join(described)}{more}"


def _holds(fleet: Fleet, pod: PodState) -> str:
    """What a draining pod waits for: its sessions, or those who may come back to theirs."""
    if users(pod) != 0 or pod.silence:
        return sessions_told(pod)
    return "empty" if fleet.is_drained(pod) else "empty, its users may still reconnect"


def returned(pods: Iterable[PodState], drain: Drain, now: Now) -> str:
    """Describe the pods that a new answer of their sidecar no longer reports as drained; or ""."""
    back = [pod for pod in pods if not is_free_to_go(pod, drain, now)]
    said = ", ".join(f"{pod.name} ({sessions_told(pod, asked=True)})" for pod in back[:TOLD_PODS])
    return f"not scaled down: {said} when asked again right before the scale-down" if back else ""


def idle(fleet: Fleet, told_at: Mapping[str, float]) -> tuple[str, Mapping[str, float]]:
    """Describe the pods that have drained for `drain.tell` or longer and still have sessions.

    told_at: by uid when a pod was named last; it is named again after as long. Returns "" if no pod
    is to be named now, and when each pod was named.
    """
    period = fleet.drain.tell
    if period is None or not fleet.leaving:
        return "", {}
    known = {pod.uid: told_at[pod.uid] for pod in fleet.leaving if pod.uid in told_at}
    late = [
        pod
        for pod in fleet.leaving
        if fleet.now.has_lasted(waited(fleet, pod), period)
        and not fleet.is_drained(pod)
        and fleet.now.has_passed(period, since=known.get(pod.uid, -inf))
    ]
    if not late:
        return "", known
    described = [f"{pod.name} ({_idle_told(fleet, pod)})" for pod in late[:TOLD_PODS]]
    more = f" and {len(late) - TOLD_PODS} more" if len(late) > TOLD_PODS else ""
    count = "1 pod has" if len(late) == 1 else f"{len(late)} pods have"
    words = f"{count} been draining for {duration_text(period)} or longer: "
    return words + ", ".join(described) + more, known | {pod.uid: fleet.now.at for pod in late}


def waited(fleet: Fleet, pod: PodState) -> float:
    """Seconds since the pod was cordoned; if by hand, since this daemon has seen it so."""
    if pod.cordon is None:
        return cordoned_for(fleet.seen, pod, fleet.now.at)
    return fleet.now.at - pod.cordon.at


def sessions_told(pod: PodState, *, asked: bool = False) -> str:
    """The number of sessions in words. asked: a sample is no answer in place of the sidecar's."""
    count = users(pod)
    if pod.silence:
        return f"no answer: {pod.silence}"
    if count == inf or (asked and pod.occupancy is None):
        return "no answer"
    return counted(max(0, int(count)), "session")


def names(pods: Iterable[PodState]) -> str:
    """The pods' names in one line, the first few of many."""
    listed = [pod.name for pod in pods]
    more = f" and {len(listed) - TOLD_PODS} more" if len(listed) > TOLD_PODS else ""
    return ", ".join(listed[:TOLD_PODS]) + more


def _idle_told(fleet: Fleet, pod: PodState) -> str:
    seen = pod.occupancy
    words = [sessions_told(pod, asked=True)]
    if seen is not None and seen.blocked:
        words.append(f"{seen.blocked} kept by blocked work")
    if seen is not None and seen.requests:
        words.append(f"{seen.requests} HTTP requests in flight")
    if seen is not None and seen.live:
        unknown = seen.idle_for is None
        idle_for = "for an unknown time" if unknown else f"for {_rounded(seen.idle_for or 0.0)}"
        words.append(f"idle {idle_for}")
    by_hand = "by hand " if is_cordoned_by_hand(pod) else ""
    words.append(f"cordoned {by_hand}for {_rounded(waited(fleet, pod))}")
    return ", ".join(words)


def _rounded(seconds: float) -> str:
    """In minutes from a minute on: nobody waits for the seconds of an hour."""
    return duration_text(round(seconds) if seconds < 60 else round(seconds / 60) * 60)


def _how(pod: PodState) -> str:
    if not is_cordoned_by_hand(pod):
        return ""
    who = f" by {pod.label_writer.partition(' ')[0]}" if pod.label_writer else ""
    return f", cordoned by hand{who}"
