"""Joins what the cluster and the metrics said into the one value that `decide` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import Any, NamedTuple

from autoscaler.core.drain.pods import nearest_to_its_limit
from autoscaler.model import BEGINNING_STEP, Observation, PodState, Sample, Unavailable
from autoscaler.policy import CpuMetric, MemoryMetric, Policy, PrometheusMetric, RefusalTarget
from autoscaler.ports import Readings, Signal, TargetState

# The samples of a target's pods by signal, in the order of the pods; None: a pod has none.
Samples = Mapping[Signal, tuple[Sample | None, ...]]


def required_signals(policy: Policy) -> dict[Signal, str]:
    """The signals that a policy needs and where each comes from.

    Sessions are read whenever a scale-down must not end one, also for a policy on CPU alone; memory
    also where it wears pods out; who came and left only for spare seats by `refuse`.
    """
    wanted: dict[Signal, str] = {}
    if policy.sessions is not None or policy.drain is not None:
        wanted["sessions"] = "exporter"
    for metric in policy.metrics:
        if isinstance(metric, CpuMetric | MemoryMetric):
            wanted[metric.type] = metric.source
    if policy.recycle is not None and policy.recycle.memory is not None:
        wanted.setdefault("memory", "exporter")
    if wanted.get("memory") == "exporter":
        wanted["memory_limit"] = "exporter"
    if any(isinstance(spare, RefusalTarget) for spare in policy.spares):
        wanted |= {"arrivals": "exporter", "departures": "exporter"}
    return wanted


def read_signals(policy: Policy) -> dict[Signal, str]:
    """The signals that a policy needs, and those that it only makes better decisions with.

    Who comes, and since when the oldest sessions are there, decides which pods new users go to and
    which are drained; without it new users go to all pods.
    """
    wanted = required_signals(policy)
    if policy.packs:
        wanted |= dict.fromkeys(("arrivals", "departures"), "exporter")
    if "arrivals" in wanted:
        wanted["oldest_session"] = "exporter"
    return wanted


def queries_in_turn(policies: Iterable[Policy]) -> tuple[str, ...]:
    """Return the queries of these policies: the first one of each, then the second one, and so on.

    So a policy with many slow queries does not delay those of the others.
    """
    rounds = zip_longest(*map(required_queries, policies))
    return tuple(dict.fromkeys(query for each in rounds for query in each if query is not None))


def required_queries(policy: Policy) -> tuple[str, ...]:
    """The PromQL that a policy brings along."""
    return tuple(m.query for m in policy.metrics if isinstance(m, PrometheusMetric))


class Evidence(NamedTuple):
    """Everything that a decision is made of, but the time and what is remembered.

    Where two are equal, so are the decisions. is_cached: whether the target was read from a cache.
    """

    policy: Policy
    target: TargetState
    is_cached: bool
    samples: tuple[tuple[Sample | int | None, ...], ...]
    external: tuple[Sample | int | Unavailable, ...]
    unavailable: Mapping[str, str]
    hints: Mapping[str, str]
    fresh_for: float


def evidence_of(policy: Policy, target: TargetState, readings: Readings) -> Evidence:
    """Return what `build_observation` takes from these, as far as anything is decided by it."""
    wanted = read_signals(policy)
    samples = _samples(target, wanted, readings).values()
    external = _external(policy, readings).values()
    return Evidence(
        policy,
        target,
        target.confirmed_at is not None,
        tuple([tuple([each and each.content for each in column]) for column in samples]),
        tuple([each.content if isinstance(each, Sample) else each for each in external]),
        _of_this(wanted, readings.failed),
        _of_this(wanted, readings.hints),
        readings.fresh_for,
    )


def build_observation(policy: Policy, target: TargetState, readings: Readings) -> Observation:
    """What this pass knows of the policy's target."""
    wanted = read_signals(policy)
    samples = _samples(target, wanted, readings)
    return Observation(
        replicas=target.replicas,
        status_replicas=target.status_replicas,
        pods=_with_samples(target.pods, samples),
        external=_external(policy, readings),
        unavailable=_of_this(wanted, readings.failed),
        hints=_of_this(wanted, readings.hints),
        fresh_for=readings.fresh_for,
        rollout_in_progress=target.rollout_in_progress,
        paused=target.paused,
        pause=target.pause,
        other_autoscaler=target.other_autoscaler,
        replicas_writer=target.replicas_writer,
        not_created=target.not_created,
        uid=target.uid,
        resource_version=target.resource_version,
        confirmed_at=target.confirmed_at,
    )


def _of_this(
    wanted: Mapping[Signal, str], said: Mapping[tuple[Signal, str], str]
) -> dict[str, str]:
    return {each: said[each, source] for each, source in wanted.items() if (each, source) in said}


def _external(policy: Policy, readings: Readings) -> dict[str, Sample | Unavailable]:
    queries = required_queries(policy)
    return {query: readings.external[query] for query in queries if query in readings.external}


def _samples(target: TargetState, wanted: Mapping[Signal, str], readings: Readings) -> Samples:
    """Return the samples of a target's pods; with cAdvisor, limits are those of the pods."""
    keys = [(target.ref.namespace, pod.name) for pod in target.pods]
    found: dict[Signal, tuple[Sample | None, ...]] = {
        signal: tuple(map(readings.samples.get((signal, source), {}).get, keys))
        for signal, source in wanted.items()
    }
    for signal in found.keys() & _LASTING.keys():
        found[signal] = tuple(each and _LASTING[signal](each) for each in found[signal])
    if "sessions" in found:
        told = map(readings.samples.get(("seats", "exporter"), {}).get, keys)
        found["seats"] = tuple(map(_other_than, told, found["sessions"]))
    if wanted.get("memory") == "cadvisor":
        nearest = [
            nearest_to_its_limit(readings.containers.get(key, {}), pod.resources.memory_limits)
            for key, pod in zip(keys, target.pods, strict=True)
        ]
        found["memory"] = tuple(memory for memory, _ in nearest)
        limits = (limit for _, limit in nearest)
        found["memory_limit"] = tuple(None if it is None else Sample(it, 0.0) for it in limits)
    return found


def taken_seats(target: TargetState, readings: Readings) -> tuple[Sample | None, ...]:
    """Return the seats that the sessions of each pod of a target take; None: nobody knows."""
    found = _samples(target, {"sessions": "exporter"}, readings)
    pairs = zip(found["seats"], found["sessions"], strict=True)
    return tuple(seats or sessions for seats, sessions in pairs)


def _other_than(seats: Sample | None, sessions: Sample | None) -> Sample | None:
    """Return the seats that sessions take if it is another number than theirs.

    Seats that are older than the sessions were those of others: all take 1 now.
    """
    if seats is None or sessions is None or seats.at < sessions.at:
        return None
    return seats if seats.value != sessions.value else None


def _as_gauge(rate: Sample) -> Sample:
    """Return a rate of which nobody asks over which time it was taken."""
    return rate._replace(window=0.0)


def _beginning(age: Sample) -> Sample:
    """Return the time at which something of this age began, in seconds.

    An age is another one at each scrape, by which nothing has changed.
    """
    steps = round((age.at - age.value / 1000) / BEGINNING_STEP)
    return age._replace(value=steps * BEGINNING_STEP)


# What of some samples stays the same from scrape to scrape while nothing happens.
_LASTING: Mapping[Signal, Callable[[Sample], Sample]] = {
    "arrivals": _as_gauge,
    "departures": _as_gauge,
    "oldest_session": _beginning,
}


def _with_samples(pods: tuple[PodState, ...], samples: Samples) -> tuple[PodState, ...]:
    """Return the pods with their samples, of which the memory limit is a number."""
    seen = []
    for index, pod in enumerate(pods):
        told: dict[str, Any] = {signal: column[index] for signal, column in samples.items()}
        limit = told.get("memory_limit")
        seen.append(replace(pod, **{**told, "memory_limit": limit and limit.value}))
    return tuple(seen)
