"""Joins what the cluster and the metrics said into the one value that `decide` reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import zip_longest

from autoscaler.core.drain.pods import nearest_to_its_limit
from autoscaler.model import Observation, PodState, Sample
from autoscaler.policy import CpuMetric, MemoryMetric, Policy, PrometheusMetric, RefusalTarget
from autoscaler.ports import Readings, Signal, TargetState


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
    if policy.sessions is not None and isinstance(policy.sessions.spare, RefusalTarget):
        wanted |= {"arrivals": "exporter", "departures": "exporter"}
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


def build_observation(policy: Policy, target: TargetState, readings: Readings) -> Observation:
    """What this pass knows of the policy's target."""
    wanted = required_signals(policy)

    def of_this(said: Mapping[tuple[Signal, str], str]) -> dict[str, str]:
        return {
            each: said[each, source] for each, source in wanted.items() if (each, source) in said
        }

    return Observation(
        replicas=target.replicas,
        status_replicas=target.status_replicas,
        pods=tuple(_with_samples(pod, target, wanted, readings) for pod in target.pods),
        external={
            q: readings.external[q] for q in required_queries(policy) if q in readings.external
        },
        unavailable=of_this(readings.failed),
        hints=of_this(readings.hints),
        fresh_for=readings.fresh_for,
        rollout_in_progress=target.rollout_in_progress,
        paused=target.paused,
        other_autoscaler=target.other_autoscaler,
        replicas_writer=target.replicas_writer,
        uid=target.uid,
        resource_version=target.resource_version,
        confirmed_at=target.confirmed_at,
    )


def _with_samples(
    pod: PodState, target: TargetState, wanted: dict[Signal, str], readings: Readings
) -> PodState:
    key = (target.ref.namespace, pod.name)

    def sample(signal: Signal) -> Sample | None:
        return readings.samples.get((signal, wanted.get(signal, "")), {}).get(key)

    memory, limit = sample("memory"), sample("memory_limit")
    milli_limit = None if limit is None else limit.value
    if wanted.get("memory") == "cadvisor":
        used = readings.containers.get(key, {})
        memory, milli_limit = nearest_to_its_limit(used, pod.resources.memory_limits)
    return replace(
        pod,
        sessions=sample("sessions"),
        cpu=sample("cpu"),
        memory=memory,
        memory_limit=milli_limit,
        arrivals=sample("arrivals"),
        departures=sample("departures"),
    )
