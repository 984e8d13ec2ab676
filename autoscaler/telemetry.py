"""What the daemon says of itself: metrics, and the words of a pass for people and machines."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)

from autoscaler.controller import Outcome, PassResult
from autoscaler.gauges import POLICY_LABELS, PREFIX, LastPass, policy_labels
from autoscaler.model import Confirmation, Decision, Reason
from autoscaler.policy import Policy
from autoscaler.ports import Standing

# When a counter was made is a second series for each, and nobody's question.
disable_created_metrics()  # type: ignore[no-untyped-call]

# Steps that keep a shrink from happening, or from happening yet.
SUPPRESSING = {
    Reason.PARTIAL_DATA,
    Reason.ROLLOUT_IN_PROGRESS,
    Reason.COOLDOWN_DOWN,
    Reason.SCALE_DOWN_STABILIZED,
    Reason.SESSIONS_STILL_OPEN,
    Reason.DELETION_ORDER_UNCERTAIN,
    Reason.FOREIGN_DELETION_COST,
    Reason.VICTIM_MISMATCH,
    Reason.OTHER_AUTOSCALER,
    Reason.NOT_CORDONABLE,
}
# A drain lasts as long as its last user stays: minutes to a working day.
DRAIN_BUCKETS = (30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 28_800)


class DrainTelemetry:
    """The metrics of shrinks: what they took, what they waited for, and what they must not do."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._cut = Counter(
            f"{PREFIX}_sessions_cut",
            "Sessions that a shrink ended.",
            POLICY_LABELS,
            registry=registry,
        )
        self._mismatches = Counter(
            f"{PREFIX}_victim_mismatches",
            "Shrinks that removed another pod than was chosen.",
            POLICY_LABELS,
            registry=registry,
        )
        self._suppressed = Counter(
            f"{PREFIX}_suppressed_shrinks",
            "Passes that wanted fewer replicas and kept them, by reason.",
            [*POLICY_LABELS, "reason"],
            registry=registry,
        )
        self._duration = Histogram(
            f"{PREFIX}_drain_duration_seconds",
            "From a pod's cordon to its removal.",
            POLICY_LABELS,
            buckets=DRAIN_BUCKETS,
            registry=registry,
        )

    def declare(self, policy: Policy) -> None:
        """Make a policy's series exist: a counter that begins with its first event hides it."""
        labels = policy_labels(policy)
        for metric in (self._cut, self._mismatches, self._duration):
            metric.labels(*labels)
        for reason in SUPPRESSING:
            self._suppressed.labels(*labels, reason.value)

    def record(self, outcome: Outcome, decision: Decision, at: float) -> None:
        """Take note of one policy's pass."""
        labels = policy_labels(outcome.policy)
        confirmed = decision.confirmed or Confirmation(0)
        self._cut.labels(*labels).inc(confirmed.cut)
        self._mismatches.labels(*labels).inc(confirmed.mismatch)
        for reason in {step.reason for step in decision.steps} & SUPPRESSING:
            self._suppressed.labels(*labels, reason.value).inc()
        for pod in decision.drain.remove if decision.drain and outcome.changed else ():
            if pod.cordon is not None:
                self._duration.labels(*labels).observe(at - pod.cordon.at)


class Telemetry:
    """A `controller.Recorder` that keeps the daemon's own metrics in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def per_policy(name: str, words: str, *labels: str) -> Counter:
            names = [*POLICY_LABELS, *labels]
            return Counter(f"{PREFIX}_{name}", words, names, registry=registry)

        def gauge(name: str, words: str, *labels: str) -> Gauge:
            return Gauge(f"{PREFIX}_{name}", words, labels, registry=registry)

        Info(PREFIX, "This daemon.", registry=registry).info(
            {"version": version("bokeh-autoscaler")}
        )
        self._last = LastPass()
        registry.register(self._last)
        self._decisions = per_policy(
            "decisions",
            "Decisions by direction and by the reason that had the last word.",
            "direction",
            "reason",
        )
        self._changes = per_policy("changes", "Patches of a scale that took effect.")
        self._failures = per_policy(
            "failures", "Passes in which a policy's target could not be read or scaled."
        )
        self._broken = gauge(
            "policy_file_errors",
            "Errors in a policy file; while there are any its last good version runs.",
            "file",
        )
        self._leader = gauge(
            "leader",
            "Whether this daemon acts in the namespace (1), or another one, or none (0).",
            "namespace",
        )
        self._policies = gauge("policies", "Policies in force.")
        self.pass_seconds = Histogram(
            f"{PREFIX}_pass_duration_seconds", "Time that one pass takes.", registry=registry
        )
        self.pass_interval = gauge(
            "pass_interval_seconds", "Time from the start of one pass to the next."
        )
        self._last_pass = gauge("last_pass_timestamp_seconds", "When a pass last ended.")
        self._last_success = gauge(
            "last_success_timestamp_seconds", "When a pass last ended without a failure."
        )
        self._drains = DrainTelemetry(registry)

    def record(self, result: PassResult) -> None:
        """Take note of one pass."""
        self._last.record(result)
        self._policies.set(len(result.policies.policies))
        self._broken.clear()
        for file, problems in result.policies.problems.items():
            self._broken.labels(file).set(len(problems))
        self._record_standings(result.standings)
        for outcome in result.outcomes:
            self._record_outcome(outcome, result.at)
        self._last_pass.set(result.at)
        if not any(outcome.problem for outcome in result.outcomes):
            self._last_success.set(result.at)

    def _record_standings(self, standings: Mapping[str, Standing]) -> None:
        self._leader.clear()
        for namespace, standing in standings.items():
            self._leader.labels(namespace).set(standing.leads)

    def _record_outcome(self, outcome: Outcome, at: float) -> None:
        labels = policy_labels(outcome.policy)
        self._failures.labels(*labels).inc(outcome.problem is not None)
        self._changes.labels(*labels).inc(outcome.changed)
        self._drains.declare(outcome.policy)
        decision = outcome.decision
        if decision is None:
            return
        self._decisions.labels(*labels, decision.direction, decision.reason.value).inc()
        self._drains.record(outcome, decision, at)
