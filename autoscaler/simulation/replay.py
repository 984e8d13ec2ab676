"""Decides again what a journal recorded, and compares. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

from autoscaler.core.decide import decide
from autoscaler.core.journal import Entry, lasting
from autoscaler.model import Decision, DrainPlan, PodMarks, State
from autoscaler.policy import Policy

NOTHING = "nothing"
NO_PLAN = DrainPlan(0)


class Replayed(NamedTuple):
    """An entry, and what was decided from it now."""

    entry: Entry
    decision: Decision


def replay(entries: Iterable[Entry]) -> Iterator[Replayed]:
    """Decide about each entry by its own policy, with the state carried from one to the next."""
    states: dict[tuple[str, str], State] = {}
    for entry in entries:
        key = entry.writer, entry.policy.name
        before = entry.before or states.get(key)
        decision, states[key] = decide(entry.policy, entry.observed, before, entry.at)
        yield Replayed(entry, lasting(decision))


def replay_with(policy: Policy, entries: Iterable[Entry]) -> Iterator[Replayed]:
    """Decide about each entry of the policy's name by this version of it.

    If it learns its seats, it has those that were recorded, within its bounds. Its own
    recommendations are remembered. What else was recorded as remembered comes from what was
    really done to the Deployment, which the observations show: changes, removals and resets.
    """
    state: State | None = None
    for entry in entries:
        if entry.policy.name != policy.name:
            continue
        before = entry.before or state
        if before is not None and state is not None:
            before = before._replace(
                recommendations=state.recommendations,
                traffic=state.traffic,
                blind_since=state.blind_since,
            )
        decision, state = decide(_with_seats_of(entry, policy), entry.observed, before, entry.at)
        yield Replayed(entry, lasting(decision))


def _with_seats_of(entry: Entry, policy: Policy) -> Policy:
    learn, recorded = policy.learn, entry.policy.sessions
    if learn is None or recorded is None:
        return policy
    return policy.with_seats(min(max(recorded.seats, learn.min), learn.max))


def differences(recorded: Decision, replayed: Decision) -> Iterator[str]:
    """Yield each part in which two decisions differ: a metric, a step, or what is done to pods."""
    yield from _listed("metric", recorded.recommendations, replayed.recommendations)
    yield from _listed("step", recorded.steps, replayed.steps)
    for name in ("current", "desired", "confirmed", "ended", "reset"):
        yield from _one(name, getattr(recorded, name), getattr(replayed, name))
    yield from _drains(recorded.drain or NO_PLAN, replayed.drain or NO_PLAN)


def _drains(recorded: DrainPlan, replayed: DrainPlan) -> Iterator[str]:
    """Yield what differs of the pods; the steps of a plan are among those of its decision."""
    before, now = ({pod.name: marks for pod, marks in plan.marks} for plan in (recorded, replayed))
    for name in before | now:
        yield from _one(f"pod {name}", before.get(name, NOTHING), now.get(name, NOTHING))
    removed = (", ".join(pod.name for pod in plan.remove) for plan in (recorded, replayed))
    yield from _one("deleted pods", *(names or NOTHING for names in removed))
    for part in ("replicas", "idle", "named"):
        yield from _one(f"drain, {part}", getattr(recorded, part), getattr(replayed, part))


def _listed(name: str, recorded: Iterable[Any], replayed: Iterable[Any]) -> Iterator[str]:
    pairs = zip_longest(recorded, replayed, fillvalue=NOTHING)
    for number, (before, now) in enumerate(pairs, start=1):
        yield from _one(f"{name} {number}", before, now)


def _one(name: str, recorded: Any, replayed: Any) -> Iterator[str]:
    if recorded != replayed:
        yield f"{name}: recorded {_words(recorded)}, replayed {_words(replayed)}"


def _words(value: Any) -> str:
    if isinstance(value, PodMarks):
        place = (
            "routable" if value.routable else f"cordoned ({value.cordon and value.cordon.cause})"
        )
        cost = "no deletion cost" if value.cost is None else f"deletion cost {value.cost}"
        return f"{place}, {cost}, {'' if value.protected else 'not '}protected from eviction"
    if hasattr(value, "detail"):
        metric = getattr(value, "metric", "")
        return f"{metric or value.reason} {value.replicas} ({value.detail})"
    return str(value)
