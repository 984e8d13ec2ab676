"""Joins what the cluster and the metrics said into the one value that `decide` reads."""

from __future__ import annotations

from dataclasses import replace

from autoscaler.model import Observation, PodState, Sample
from autoscaler.policy import CpuMetric, MemoryMetric, Policy, PrometheusMetric
from autoscaler.ports import Readings, Signal, TargetState


def signals_of(policy: Policy) -> dict[Signal, str]:
    """The signals that a policy needs and where each comes from.

    Sessions are read whenever a shrink must not end one, also for a policy on CPU alone; memory
    also where it wears pods out.
    """
    wanted: dict[Signal, str] = {}
    if policy.sessions is not None or policy.drain is not None:
        wanted["sessions"] = "exporter"
    for metric in policy.metrics:
        if isinstance(metric, CpuMetric | MemoryMetric):
            wanted[metric.type] = metric.source
    if policy.recycle is not None and policy.recycle.memory is not None:
        wanted.setdefault("memory", "exporter")
    return wanted


def queries_of(policy: Policy) -> tuple[str, ...]:
    """The PromQL that a policy brings along."""
    return tuple(m.query for m in policy.metrics if isinstance(m, PrometheusMetric))


def observation(policy: Policy, target: TargetState, readings: Readings) -> Observation:
    """What this pass knows of the policy's target."""
    wanted = signals_of(policy)
    failed: dict[str, str] = {
        signal: readings.failed[signal, source]
        for signal, source in wanted.items()
        if (signal, source) in readings.failed
    }
    return Observation(
        replicas=target.replicas,
        status_replicas=target.status_replicas,
        pods=tuple(_with_samples(pod, target, wanted, readings) for pod in target.pods),
        external={q: readings.external[q] for q in queries_of(policy) if q in readings.external},
        unavailable=failed,
        rollout_in_progress=target.rollout_in_progress,
        rival=target.rival,
        uid=target.uid,
        resource_version=target.resource_version,
    )


def _with_samples(
    pod: PodState, target: TargetState, wanted: dict[Signal, str], readings: Readings
) -> PodState:
    key = (target.ref.namespace, pod.name)

    def sample(signal: Signal) -> Sample | None:
        return readings.samples.get((signal, wanted.get(signal, "")), {}).get(key)

    return replace(pod, sessions=sample("sessions"), cpu=sample("cpu"), memory=sample("memory"))
