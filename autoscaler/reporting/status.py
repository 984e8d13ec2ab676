"""What the daemon saw in its last pass over each policy, as gauges.

They are made when somebody asks, from the active policies: one that is gone leaves no series
behind for an alert to keep firing on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from autoscaler.control.observation import required_signals
from autoscaler.control.pass_result import Outcome, PassResult
from autoscaler.control.reachability import MOST
from autoscaler.core import sessions
from autoscaler.core.drain.pods import is_cordoned_by_hand
from autoscaler.core.now import Now
from autoscaler.model import Cause, Decision, Observation
from autoscaler.policy import Policy
from autoscaler.ports import LeadershipStatus

PREFIX = "bokeh_autoscaler"
POLICY_LABELS = ("policy", "namespace", "deployment")
# Name to help, and the label beside those of the policy.
GAUGES = {
    "replicas": ("Replicas of the target: current, desired, ready, min and max.", "kind"),
    "policy_desired_replicas": (
        "Replicas that one metric of a policy asks for; absent while it has no data.",
        "metric",
    ),
    "seats": ("Seats of the pods that get new sessions: capacity and free.", "kind"),
    "pods_without_data": (
        "Pods without a fresh session count. They count as full and busy.",
        None,
    ),
    "unreachable_sidecars": (
        "Pods whose sidecar the daemon cannot reach. They count as busy and are not deleted.",
        None,
    ),
    "unreachable_pod": (
        "1 for each pod whose sidecar the daemon cannot reach; at most 50 of a policy.",
        "pod",
    ),
    "cordoned_pods": (
        "Cordoned pods, by cause: scale-down, full (until they have room), or hand.",
        "cause",
    ),
}


class Row(NamedTuple):
    """One value of a gauge; `label` is None where it has no label of its own."""

    name: str
    label: str | None
    value: float


def policy_labels(policy: Policy) -> tuple[str, ...]:
    """The values of POLICY_LABELS."""
    return (policy.name, *policy.target.ref)


class StatusCollector(Collector):
    """Remembers what each policy's last pass that could read its target saw."""

    def __init__(self) -> None:
        self._rows: Mapping[tuple[str, ...], Sequence[Row]] = {}

    def record(self, result: PassResult) -> None:
        """Take note of one pass, which need not have had every policy's turn."""
        seen = {policy_labels(o.policy): tuple(_rows(o, result.at)) for o in result.outcomes}
        known = {**self._rows, **{labels: rows for labels, rows in seen.items() if rows}}
        ours = [p for p in result.policies.policies if not _is_anothers(p, result.leadership)]
        active = set(map(policy_labels, ours))
        self._rows = {labels: rows for labels, rows in known.items() if labels in active}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every gauge, with the series of every policy."""
        families = {name: _family(name) for name in GAUGES}
        for labels, rows in self._rows.items():
            for name, label, value in rows:
                families[name].add_metric([*labels, *_own(label)], value)
        yield from families.values()


def _is_anothers(policy: Policy, statuses: Mapping[str, LeadershipStatus]) -> bool:
    """Whether another daemon looks after the policy: what this one said of it is out of date."""
    status = statuses.get(policy.target.namespace)
    return status is not None and status.is_standby


def _family(name: str) -> GaugeMetricFamily:
    words, label = GAUGES[name]
    return GaugeMetricFamily(f"{PREFIX}_{name}", words, labels=[*POLICY_LABELS, *_own(label)])


def _own(label: str | None) -> tuple[str, ...]:
    return () if label is None else (label,)


def _rows(outcome: Outcome, at: float) -> Iterator[Row]:
    policy, decision, observed = outcome.policy, outcome.decision, outcome.observed
    if decision is None or observed is None:
        return
    yield from _replicas(policy, decision, observed)
    asked = [(r.metric, r.replicas) for r in decision.recommendations if r.replicas is not None]
    for metric, replicas in dict(sorted(asked)).items():  # of two alike, the larger counts
        yield Row("policy_desired_replicas", metric, replicas)
    active = [pod for pod in observed.pods if pod.is_active]
    causes = [pod.cordon.cause for pod in active if pod.cordon is not None]
    for cause in Cause:
        yield Row("cordoned_pods", cause.value, causes.count(cause))
    yield Row("cordoned_pods", "hand", sum(map(is_cordoned_by_hand, active)))
    if policy.drain is not None:
        yield Row("unreachable_sidecars", None, len(outcome.unreachable))
        for pod in {each.pod for each in outcome.unreachable[:MOST]}:
            yield Row("unreachable_pod", pod, 1)
    if "sessions" in required_signals(policy):
        yield Row(
            "pods_without_data",
            None,
            sessions.without_data(observed.pods, Now(at), observed.fresh_for),
        )
    if policy.sessions is not None:
        found = sessions.seating(observed.pods, policy.sessions.seats)
        yield Row("seats", "capacity", found.capacity)
        yield Row("seats", "free", found.free)


def _replicas(policy: Policy, decision: Decision, observed: Observation) -> Iterator[Row]:
    yield Row("replicas", "current", decision.current)
    yield Row("replicas", "desired", decision.desired)
    yield Row("replicas", "ready", sum(pod.serving for pod in observed.pods))
    yield Row("replicas", "min", policy.replicas.min)
    yield Row("replicas", "max", policy.replicas.max)
