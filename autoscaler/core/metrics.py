"""Each metric of a policy to its recommendation: reads the observation, calls the recommender."""

from __future__ import annotations

from dataclasses import replace

from autoscaler.core import seats
from autoscaler.core.pods import Reading
from autoscaler.core.recommend import (
    NoRecommendation,
    Proposal,
    Tolerance,
    average_value,
    utilization,
    value,
)
from autoscaler.core.recommend import sessions as pods_for_sessions
from autoscaler.model import Observation, Reason, Recommendation, State, Unavailable
from autoscaler.policy import (
    CpuMetric,
    MemoryMetric,
    Policy,
    PrometheusMetric,
    SessionsMetric,
)

FAILURES = {
    "sessions": Reason.FAILED_GET_SESSIONS_METRIC,
    "cpu": Reason.FAILED_GET_RESOURCE_METRIC,
    "memory": Reason.FAILED_GET_RESOURCE_METRIC,
    "prometheus": Reason.FAILED_GET_EXTERNAL_METRIC,
}


def recommendations(
    policy: Policy, observed: Observation, state: State, now: float
) -> tuple[tuple[Recommendation, ...], State]:
    """One recommendation a metric, in the policy's order, and the state with the traffic seen."""
    tolerance = _tolerance(policy)
    results = []
    for metric in policy.metrics:
        try:
            if isinstance(metric, SessionsMetric):
                result, state = _sessions(metric, policy, observed, state, now)
            else:
                result = _resource_or_query(metric, observed, now, tolerance)
        except NoRecommendation as error:
            reason = FAILURES[metric.type]
            result = Recommendation(metric.type, None, f"{metric.type}: {error}", reason, False)
        results.append(result)
    return tuple(results), state


def _tolerance(policy: Policy) -> Tolerance:
    if policy.behavior is None:
        return Tolerance()
    up, down = policy.behavior.scale_up.tolerance, policy.behavior.scale_down.tolerance
    return Tolerance(0.1 if up is None else up, 0.1 if down is None else down)


def _sessions(
    metric: SessionsMetric, policy: Policy, observed: Observation, state: State, now: float
) -> tuple[Recommendation, State]:
    if "sessions" in observed.unavailable:
        raise NoRecommendation(observed.unavailable["sessions"])
    count = seats.connected(observed.pods, metric.seats, now)
    if count.unknown and not count.measured:
        raise NoRecommendation(f"no session count from any of {count.unknown} pods")
    traffic = seats.follow_traffic(state.traffic, count.sessions, now)
    spare = seats.spare_seats(metric, count.sessions, traffic, policy.interval)
    replicas = pods_for_sessions(count.sessions, spare, metric.seats)
    detail = f"sessions: ({count.sessions} connected + {spare} spare) / {metric.seats} seats"
    # One without users goes first in a shrink, and is no help when more pods are needed.
    if apart := count.apart + (count.idle if replicas > count.open else 0):
        replicas += apart
        detail += f" + {apart} pods without new users"
    if count.unknown:
        detail += f", {count.unknown} pods without data counted as full"
    return (
        Recommendation("sessions", replicas, detail, complete=not count.unknown),
        replace(state, traffic=traffic),
    )


def _resource_or_query(
    metric: CpuMetric | MemoryMetric | PrometheusMetric,
    observed: Observation,
    now: float,
    tolerance: Tolerance,
) -> Recommendation:
    if isinstance(metric, PrometheusMetric):
        return _query(metric, observed, tolerance)
    return _resource(metric, observed, now, tolerance)


def _resource(
    metric: CpuMetric | MemoryMetric, observed: Observation, now: float, tolerance: Tolerance
) -> Recommendation:
    if metric.type in observed.unavailable:
        raise NoRecommendation(observed.unavailable[metric.type])
    cpu = isinstance(metric, CpuMetric)
    readings = [
        Reading(pod, pod.cpu, pod.resources.cpu_request)
        if cpu
        else Reading(pod, pod.memory, pod.resources.memory_limit)
        for pod in observed.pods
    ]
    target = int(metric.utilization)
    proposal = utilization(readings, target, observed.replicas, now, tolerance, cpu=cpu)
    blind = sum(
        reading.sample is None
        and not reading.pod.deleting
        and not seats.is_arriving(reading.pod, now)
        for reading in readings
    )
    detail = (
        f"{metric.type}: {proposal.usage}% of {'requests' if cpu else 'limits'}, target {target}%"
    )
    if blind:
        detail += f", {blind} pods without data"
    return Recommendation(metric.type, proposal.replicas, detail, complete=not blind)


def _query(metric: PrometheusMetric, observed: Observation, tolerance: Tolerance) -> Recommendation:
    sample = observed.external.get(metric.query, Unavailable("the query was not asked"))
    if isinstance(sample, Unavailable):
        raise NoRecommendation(sample.message)
    proposal, target = _shared_out(metric, sample.value, observed, tolerance)
    detail = f"prometheus: {sample.value / 1000:g}, target {target}"
    return Recommendation("prometheus", proposal.replicas, detail)


def _shared_out(
    metric: PrometheusMetric, total: int, observed: Observation, tolerance: Tolerance
) -> tuple[Proposal, str]:
    if metric.per_replica is not None:
        replicas = (
            observed.replicas if observed.status_replicas is None else observed.status_replicas
        )
        share = max(1, round(metric.per_replica * 1000))
        return average_value(total, share, replicas, tolerance), f"{metric.per_replica:g} a replica"
    if not observed.pods:  # as in HPA: no pods at all is an error, none ready is 0
        raise NoRecommendation("no pods returned by selector while calculating replica count")
    goal = max(1, round((metric.value or 0) * 1000))
    ready = sum(pod.serving for pod in observed.pods)
    return value(total, goal, observed.replicas, ready, tolerance), f"{metric.value:g}"
