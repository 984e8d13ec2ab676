"""What the daemon saw in its last pass over each policy, as gauges.

They are made when somebody asks, from the policies in force: one that is gone leaves no series
behind for an alert to keep firing on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from autoscaler.controller import Outcome, PassResult
from autoscaler.core import seats
from autoscaler.model import Cause, Decision, Observation
from autoscaler.observe import signals_of
from autoscaler.policy import Policy
from autoscaler.ports import Standing

PREFIX = "bokeh_autoscaler"
POLICY_LABELS = ("policy", "namespace", "deployment")
# Name to help, and the label beside those of the policy.
GAUGES = {
    "replicas": ("Replicas of the target: current, desired, ready, min and max.", "kind"),
    "policy_desired_replicas": (
        "What one metric of a policy asks for; absent while it has no data.",
        "metric",
    ),
    "seats": ("Seats of the pods that get new sessions: capacity and free.", "kind"),
    "pods_without_data": (
        "Pods without a fresh session count, which count as full and busy.",
        None,
    ),
    "cordoned_pods": (
        "Pods that get no new sessions: to go (shrink) or until they have room (hot).",
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


class LastPass(Collector):
    """Remembers what each policy's last pass that could read its target saw."""

    def __init__(self) -> None:
        self._rows: Mapping[tuple[str, ...], Sequence[Row]] = {}

    def record(self, result: PassResult) -> None:
        """Take note of one pass, which need not have had every policy's turn."""
        seen = {policy_labels(o.policy): tuple(_rows(o, result.at)) for o in result.outcomes}
        known = {**self._rows, **{labels: rows for labels, rows in seen.items() if rows}}
        ours = [p for p in result.policies.policies if not _is_anothers(p, result.standings)]
        in_force = set(map(policy_labels, ours))
        self._rows = {labels: rows for labels, rows in known.items() if labels in in_force}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every gauge, with the series of every policy."""
        families = {name: _family(name) for name in GAUGES}
        for labels, rows in self._rows.items():
            for name, label, value in rows:
                families[name].add_metric([*labels, *_own(label)], value)
        yield from families.values()


def _is_anothers(policy: Policy, standings: Mapping[str, Standing]) -> bool:
    """Whether another daemon looks after the policy: what this one said of it is out of date."""
    standing = standings.get(policy.target.namespace)
    return standing is not None and standing.stands_by


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
    for cause in Cause:
        causes = [pod.cordon.cause for pod in observed.pods if pod.cordon is not None]
        yield Row("cordoned_pods", cause.value, causes.count(cause))
    if "sessions" in signals_of(policy):
        yield Row("pods_without_data", None, seats.without_data(observed.pods, at))
    if policy.sessions is not None:
        found = seats.seating(observed.pods, policy.sessions.seats)
        yield Row("seats", "capacity", found.capacity)
        yield Row("seats", "free", found.free)


def _replicas(policy: Policy, decision: Decision, observed: Observation) -> Iterator[Row]:
    yield Row("replicas", "current", decision.current)
    yield Row("replicas", "desired", decision.desired)
    yield Row("replicas", "ready", sum(pod.serving for pod in observed.pods))
    yield Row("replicas", "min", policy.replicas.min)
    yield Row("replicas", "max", policy.replicas.max)
