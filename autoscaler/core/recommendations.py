"""Each metric of a policy to its recommendation: reads the observation, calls the recommender."""

from __future__ import annotations

from autoscaler.core import sessions, starts
from autoscaler.core.drain.pods import memory_limit
from autoscaler.core.hpa.pod_groups import Reading
from autoscaler.core.hpa.replicas import (
    NoRecommendation,
    Proposal,
    Tolerance,
    average_value,
    utilization,
    value,
)
from autoscaler.core.hpa.replicas import sessions as pods_for_sessions
from autoscaler.core.now import Now
from autoscaler.core.staleness import is_arriving
from autoscaler.model import Observation, Reason, Recommendation, State, Unavailable
from autoscaler.policy import (
    CpuMetric,
    MemoryMetric,
    Policy,
    PrometheusMetric,
    RefusalTarget,
    SessionsMetric,
)
from autoscaler.units import counted, duration_text

FAILURES = {
    "sessions": Reason.FAILED_GET_SESSIONS_METRIC,
    "cpu": Reason.FAILED_GET_RESOURCE_METRIC,
    "memory": Reason.FAILED_GET_RESOURCE_METRIC,
    "prometheus": Reason.FAILED_GET_EXTERNAL_METRIC,
}


def recommendations(
    policy: Policy, observed: Observation, state: State, now: Now
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
    metric: SessionsMetric, policy: Policy, observed: Observation, state: State, now: Now
) -> tuple[Recommendation, State]:
    if "sessions" in observed.unavailable:
        raise NoRecommendation(observed.unavailable["sessions"])
    fresh_for = observed.fresh_for
    count = sessions.connected(observed.active, metric.seats, now, fresh_for)
    if count.unknown and not count.measured:
        nobody = f"no session count from any of {count.unknown} pods"
        raise NoRecommendation(_with_hint(nobody, "sessions", observed))
    # A window of the schedule may need tomorrow what is counted today.
    traffic = sessions.follow_traffic(state.traffic, observed.pods, now, fresh_for)
    if traffic is not state.traffic:
        state = state._replace(traffic=traffic)
    by_refusal = isinstance(metric.spare, RefusalTarget)
    delay = sessions.seen_after(policy, fresh_for)
    lead_time = starts.lead_time(state.starts)
    spare = sessions.spare_seats(metric, count.sessions, traffic, lead_time, delay, now, count.cost)
    replicas = pods_for_sessions(count.sessions, spare, metric.seats)
    words = "seats taken" if any(pod.seats for pod in observed.active) else "connected"
    detail = f"sessions: ({count.sessions} {words} + {spare} spare) / {metric.seats} seats"
    # One without sessions is deleted first in a scale-down, and is no help when pods are needed.
    if apart := count.apart + (count.idle if replicas > count.open else 0):
        replicas += apart
        detail += f" + {apart} pods without new users"
    if count.unknown:
        detail += f", {counted(count.unknown, 'pod')} without data counted as full"
    if by_refusal and lead_time is not None:
        detail += f", for new pods take {duration_text(round(lead_time))}"
    if by_refusal and metric.forecasts and (why := sessions.doubts_forecast(traffic, now)):
        detail += f", the forecast {why}"
    unheard = by_refusal and not (traffic and traffic.known)
    if unheard:
        why = observed.unavailable.get("arrivals", "no exporter has told yet how many users came")
        detail += f", spare seats by `refuse` are not known: {why}"
    complete = not count.unknown and not unheard
    return Recommendation("sessions", replicas, detail, complete=complete), state


def _with_hint(problem: str, signal: str, observed: Observation) -> str:
    hint = observed.hints.get(signal)
    return f"{problem}: {hint}" if hint else problem


def _resource_or_query(
    metric: CpuMetric | MemoryMetric | PrometheusMetric,
    observed: Observation,
    now: Now,
    tolerance: Tolerance,
) -> Recommendation:
    if isinstance(metric, PrometheusMetric):
        return _query(metric, observed, tolerance)
    return _resource(metric, observed, now, tolerance)


def _resource(
    metric: CpuMetric | MemoryMetric, observed: Observation, now: Now, tolerance: Tolerance
) -> Recommendation:
    if metric.type in observed.unavailable:
        raise NoRecommendation(observed.unavailable[metric.type])
    cpu = isinstance(metric, CpuMetric)
    readings = _cpu_readings(observed) if cpu else _memory_readings(observed)
    if readings and all(reading.sample is None for reading in readings):
        nobody = f"no pod has told its {metric.type}"
        raise NoRecommendation(_with_hint(nobody, metric.type, observed))
    target = int(metric.utilization)
    proposal = utilization(readings, target, observed.replicas, now, tolerance, cpu=cpu)
    silent = [reading.pod for reading in readings if reading.sample is None]
    blind = sum(not is_arriving(pod, now, observed.fresh_for) for pod in silent)
    budget = "requests" if cpu else "the limit"
    detail = f"{metric.type}: {proposal.usage}% of {budget}, target {target}%"
    if blind:
        detail += f", {counted(blind, 'pod')} without data"
    return Recommendation(metric.type, proposal.replicas, detail, complete=not blind)


def _cpu_readings(observed: Observation) -> list[Reading]:
    return [Reading(pod, pod.cpu, pod.resources.cpu_request) for pod in observed.active]


def _memory_readings(observed: Observation) -> list[Reading]:
    """Each pod's memory and the limit that it is killed at. Raises NoRecommendation without one.

    A pod that says nothing yet is taken to have the limit of its siblings.
    """
    readings = [Reading(pod, pod.memory, memory_limit(pod)) for pod in observed.active]
    limits = [each.budget for each in readings if each.budget is not None]
    if len(limits) == len(readings):
        return readings
    bare = next((pod for pod, memory, limit in readings if limit is None and memory), None)
    if bare is not None:
        cure = "set resources.limits.memory on the container that serves the app"
        why = observed.unavailable.get("memory_limit", cure)
        raise NoRecommendation(f"no memory limit is known of pod {bare.name}: {why}")
    usual = max(limits, default=None)
    return [each if each.budget is not None else each._replace(budget=usual) for each in readings]


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
    # As in HPA: no pods at all is an error, none ready is 0. A pod that ended is no pod.
    if not observed.active:
        raise NoRecommendation("no pods returned by selector while calculating replica count")
    goal = max(1, round((metric.value or 0) * 1000))
    ready = sum(pod.serving for pod in observed.pods)
    return value(total, goal, observed.replicas, ready, tolerance), f"{metric.value:g}"
