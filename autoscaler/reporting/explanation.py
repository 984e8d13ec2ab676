"""One recorded decision in full sentences: what was seen, asked for, decided and done. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from math import ceil

from autoscaler.control.observation import required_signals
from autoscaler.core.drain.pods import is_marked
from autoscaler.core.holds import pause_of
from autoscaler.core.journal import Entry
from autoscaler.model import (
    Decision,
    Observation,
    PodMarks,
    PodState,
    Recommendation,
    Sample,
    Unavailable,
)
from autoscaler.reporting.events import HOLDS, mark_messages, why_not_drained
from autoscaler.units import counted, duration_text

# Pods by name in one sentence.
MOST_PODS = 20
_SESSIONS = re.compile(
    r"\((\d+) (?:connected|seats taken) \+ (\d+) spare\) / (\d+) seats(?: \+ (\d+) pods)?"
)
_USAGE = re.compile(r": ([\d.e+]+)(?:%|,).*?target ([\d.e+]+)")

Clock = Callable[[float], str]


def explain(entry: Entry, clock: Clock) -> Iterator[str]:
    """Yield the lines. clock: returns a time as the reader wants it."""
    decision, target = entry.decision, entry.policy.target.ref
    move = _move(decision)
    yield f"At {clock(entry.at)}, policy {entry.policy.name} decided about {target}: {move}."
    for title, sentences in (
        ("What was seen", _seen(entry, clock)),
        ("What each metric asked for", _asked(entry)),
        ("How the number came about", steps_in_words(decision)),
        ("What was done", _done(entry)),
    ):
        yield ""
        yield title
        yield from (f"  {sentence}" for sentence in sentences)


def _move(decision: Decision) -> str:
    present = counted(decision.current, "replica")
    if decision.direction == "none":
        return f"it keeps {present}, because of {decision.reason}"
    return f"it changes from {present} to {decision.desired}, because of {decision.reason}"


def _seen(entry: Entry, clock: Clock) -> Iterator[str]:
    """What was observed, and which data was missing."""
    observed, pods = entry.observed, entry.observed.pods
    serving = sum(pod.serving for pod in pods)
    yield (
        f"spec.replicas was {observed.replicas}. Of {counted(len(pods), 'pod')}, "
        f"{serving} could hold sessions."
    )
    if "sessions" in required_signals(entry.policy):
        yield from _sessions(observed, entry.at)
    for pod in pods:
        if not pod.routable:
            yield _cordoned(pod, clock)
    yield from _named("starting or not Ready", [p for p in pods if p.is_active and not p.serving])
    yield from _named("being deleted", [pod for pod in pods if pod.deleting])
    yield from _gaps(observed)
    if observed.rollout_in_progress:
        yield f"A rollout was in progress{' and paused' if observed.paused else ''}."
    if observed.other_autoscaler:
        yield f"Another autoscaler had the same target: {observed.other_autoscaler}."
    if pause := pause_of(entry.policy, observed):
        yield f"The autoscaler was paused: {pause}."


def _sessions(observed: Observation, at: float) -> Iterator[str]:
    told = [(pod, pod.sessions) for pod in observed.pods if pod.is_active and pod.sessions]
    if told:
        each = [f"{pod.name} {sample.value}" for pod, sample in told[:MOST_PODS]]
        more = f" and {len(told) - MOST_PODS} more pods" if len(told) > MOST_PODS else ""
        total = counted(sum(sample.value for _, sample in told), "session")
        oldest = duration_text(max(0, round(at - min(sample.at for _, sample in told))))
        yield f"They had {total}: {', '.join(each)}{more}. The oldest count was {oldest} old."
    silent = [pod for pod in observed.pods if pod.serving and pod.sessions is None]
    if silent:
        yield f"Without a session count, and so counted as full and busy: {_names(silent)}."


def _cordoned(pod: PodState, clock: Clock) -> str:
    cordon = pod.cordon
    if pod.is_cordoned_full and cordon is not None:
        return f"Pod {pod.name} was full, and so cordoned since {clock(cordon.at)}."
    if pod.is_reserve and cordon is not None:
        return f"Pod {pod.name} was in reserve since {clock(cordon.at)}."
    why = f"cordoned ({cordon.cause}) since {clock(cordon.at)}" if cordon else "cordoned by hand"
    if pod.occupancy is None:
        said = f"gave no answer ({pod.silence})" if pod.silence else "was not asked"
        return f"Pod {pod.name} was {why}; its sidecar {said}, so it counted as busy."
    seen = pod.occupancy
    since = "" if seen.empty_for is None else f", empty for {duration_text(round(seen.empty_for))}"
    opening = f" and {seen.opening} being opened" if seen.opening else ""
    sessions = counted(seen.live, "session")
    return f"Pod {pod.name} was {why}; its sidecar said {sessions}{opening}{since}."


def _named(what: str, pods: list[PodState]) -> Iterator[str]:
    if pods:
        verb = "was" if len(pods) == 1 else "were"
        yield f"{counted(len(pods), 'pod')} {verb} {what}: {_names(pods)}."


def _names(pods: list[PodState]) -> str:
    more = f" and {len(pods) - MOST_PODS} more" if len(pods) > MOST_PODS else ""
    return ", ".join(pod.name for pod in pods[:MOST_PODS]) + more


def _gaps(observed: Observation) -> Iterator[str]:
    for signal, why in observed.unavailable.items():
        yield f"The signal {signal} could not be read: {why}."
    for signal, why in observed.hints.items():
        yield f"Pods without {signal}: {why}."
    for query, sample in observed.external.items():
        if isinstance(sample, Unavailable):
            yield f"The query {query} gave nothing: {sample.message}."
        elif isinstance(sample, Sample):
            yield f"The query {query} gave {sample.value / 1000:g}."


def _asked(entry: Entry) -> Iterator[str]:
    """Each metric's number with its arithmetic."""
    for metric in entry.decision.recommendations:
        if metric.replicas is None:
            yield f"{metric.metric} asked for nothing ({metric.reason}): {_own(metric)}."
            continue
        number = counted(metric.replicas, "replica")
        worked = _worked(metric, entry)
        yield f"{metric.metric} asked for {number}: {_own(metric)}{worked and f': {worked}'}."
    if not entry.decision.recommendations:
        yield "No metric was asked."


def spare_seats(decision: Decision) -> int | None:
    """Return how many seats the policy keeps free now; None without data about sessions."""
    found = (_SESSIONS.search(each.detail) for each in decision.recommendations)
    return next((int(match[2]) for match in found if match), None)


def _own(metric: Recommendation) -> str:
    return metric.detail.removeprefix(f"{metric.metric}: ")


def _worked(metric: Recommendation, entry: Entry) -> str:
    """The number worked out, where these numbers alone give it; "" otherwise."""
    if match := _SESSIONS.search(metric.detail):
        connected, spare, seats, apart = (int(each or 0) for each in match.groups())
        words = _rounded(f"{connected + spare} / {seats}", (connected + spare) / seats)
        fits = ceil((connected + spare) / seats) + apart == metric.replicas
        return (f"{words}, and {apart} more" if apart else words) if fits else ""
    match = _USAGE.search(metric.detail)
    if match is None or not float(match[2]):
        return ""
    division, ratio = f"{match[1]} / {match[2]}", float(match[1]) / float(match[2])
    if metric.replicas == entry.observed.replicas:
        return f"{division} = {ratio:.2f}, which keeps {metric.replicas}"
    if "a replica" in metric.detail:
        return _rounded(division, ratio) if ceil(ratio) == metric.replicas else ""
    for pods in (sum(pod.serving for pod in entry.observed.pods), entry.observed.replicas):
        if ceil(round(ratio * pods, 6)) == metric.replicas:
            return _rounded(f"{division} x {pods} pods", ratio * pods)
    return ""


def _rounded(calculation: str, result: float) -> str:
    whole = ceil(round(result, 6))
    if whole == round(result, 6):
        return f"{calculation} = {whole}"
    return f"{calculation} = {result:.2f}, rounded up to {whole}"


def steps_in_words(decision: Decision) -> Iterator[str]:
    """Yield each step of a decision as a sentence, and what held a scale-down."""
    number = decision.current
    for count, step in enumerate(decision.steps, start=1):
        verb = "kept" if step.replicas == number else "made it"
        yield f"{count}. {step.reason} {verb} {step.replicas}: {step.detail}."
        number = step.replicas
    if not decision.steps:
        yield "No step moved the number or held it."
    held = [step for step in decision.steps if step.reason in HOLDS]
    if held and decision.direction != "up":
        yield f"So a scale-down was held by {' and '.join(dict.fromkeys(s.reason for s in held))}."


def _done(entry: Entry) -> Iterator[str]:
    decision = entry.decision
    yield from _happened(decision)
    if entry.changed:
        yield f"spec.replicas was set from {decision.current} to {decision.desired}."
    elif decision.direction != "none":
        yield f"spec.replicas was not set to {decision.desired}."
    else:
        yield "spec.replicas was left as it was."
    plan = decision.drain
    if plan is not None:
        if plan.remove and entry.changed:
            yield f"That deletes {_names([*plan.remove])}."
        for pod, marks in plan.marks:
            yield from _marked(pod, marks, entry)
        if entry.marked < len(plan.marks):
            yield f"Of these {len(plan.marks)} changes of pods, {entry.marked} were written."
    if entry.problem:
        yield f"Not all of it was carried out: {entry.problem}."


def _happened(decision: Decision) -> Iterator[str]:
    confirmed = decision.confirmed
    if confirmed is not None:
        other = ", among them a pod that had not been drained" if confirmed.mismatch else ""
        pods = counted(confirmed.removed, "pod")
        yield f"The last scale-down has ended: Kubernetes deleted {pods}{other}."
    for pod in decision.ended:
        yield f"Pod {pod.name} has ended, and {counted(pod.sessions, 'session')} with it."
    if decision.reset:
        yield f"Somebody else wrote over a setting: {decision.reset}."


def _marked(pod: PodState, marks: PodMarks, entry: Entry) -> Iterator[str]:
    ended = why_not_drained(entry.policy, entry.observed)
    told = [message.text for message in mark_messages(pod, marks, entry.policy, ended=ended)]
    if marks.cost is not None and not is_marked(pod):
        told.append(f"gave pod {pod.name} the deletion cost {marks.cost}")
    if marks.protected != pod.protected:
        verb = "protected" if marks.protected else "ended the protection of"
        told.append(f"{verb} pod {pod.name} from eviction")
    yield from (f"The daemon {each}." for each in told or [f"updated the notes of pod {pod.name}"])
