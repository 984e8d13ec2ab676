"""What the daemon says of itself: metrics, and the words of a pass for people and machines."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from autoscaler.controller import Outcome, PassResult
from autoscaler.model import Cause, Confirmation, Decision, Reason
from autoscaler.ports import Standing

PREFIX = "bokeh_autoscaler"


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
}
# A drain lasts as long as its last user stays: minutes to a working day.
DRAIN_BUCKETS = (30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 28_800)


class DrainTelemetry:
    """The metrics of shrinks: what they took, what they waited for, and what they must not do."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._cut = Counter(
            f"{PREFIX}_sessions_cut", "Sessions that a shrink ended.", ["policy"], registry=registry
        )
        self._mismatches = Counter(
            f"{PREFIX}_victim_mismatches",
            "Shrinks that removed another pod than was chosen.",
            ["policy"],
            registry=registry,
        )
        self.cordoned = Gauge(
            f"{PREFIX}_cordoned_pods",
            "Pods that get no new sessions: to go (shrink) or until they have room (hot).",
            ["policy", "cause"],
            registry=registry,
        )
        self._suppressed = Counter(
            f"{PREFIX}_suppressed_shrinks",
            "Passes that wanted fewer replicas and kept them, by reason.",
            ["policy", "reason"],
            registry=registry,
        )
        self._duration = Histogram(
            f"{PREFIX}_drain_duration_seconds",
            "From a pod's cordon to its removal.",
            ["policy"],
            buckets=DRAIN_BUCKETS,
            registry=registry,
        )

    def record(self, name: str, outcome: Outcome, decision: Decision, at: float) -> None:
        """Take note of one policy's pass. The counters exist from the first pass on, at zero."""
        confirmed = decision.confirmed or Confirmation(0)
        self._cut.labels(name).inc(confirmed.cut)
        self._mismatches.labels(name).inc(confirmed.mismatch)
        pods = outcome.observed.pods if outcome.observed else ()
        for cause in Cause:
            cordoned = sum(pod.cordon is not None and pod.cordon.cause is cause for pod in pods)
            self.cordoned.labels(name, cause.value).set(cordoned)
        for reason in {step.reason for step in decision.steps} & SUPPRESSING:
            self._suppressed.labels(name, reason.value).inc()
        for pod in decision.drain.remove if decision.drain and outcome.changed else ():
            if pod.cordon is not None:
                self._duration.labels(name).observe(at - pod.cordon.at)


class Telemetry:
    """A `controller.Recorder` that keeps the daemon's own metrics in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        Info(PREFIX, "This daemon.", registry=registry).info(
            {"version": version("bokeh-autoscaler")}
        )
        self._replicas = Gauge(
            f"{PREFIX}_replicas",
            "Replicas of the target: current, desired, ready, min and max of the policy.",
            ["policy", "namespace", "deployment", "kind"],
            registry=registry,
        )
        self._recommended = Gauge(
            f"{PREFIX}_policy_desired_replicas",
            "What one metric of a policy asks for; absent while it has no data.",
            ["policy", "metric"],
            registry=registry,
        )
        self._decisions = Counter(
            f"{PREFIX}_decisions",
            "Decisions by direction and by the reason that had the last word.",
            ["policy", "direction", "reason"],
            registry=registry,
        )
        self._changes = Counter(
            f"{PREFIX}_changes",
            "Patches of a scale that took effect.",
            ["policy"],
            registry=registry,
        )
        self._failures = Counter(
            f"{PREFIX}_failures",
            "Passes in which a policy's target could not be read or scaled.",
            ["policy"],
            registry=registry,
        )
        self._broken = Gauge(
            f"{PREFIX}_policy_file_errors",
            "Errors in a policy file; while there are any its last good version runs.",
            ["file"],
            registry=registry,
        )
        self._leader = Gauge(
            f"{PREFIX}_leader",
            "Whether this daemon acts in the namespace (1), or another one, or none (0).",
            ["namespace"],
            registry=registry,
        )
        self._policies = Gauge(f"{PREFIX}_policies", "Policies in force.", registry=registry)
        self.pass_seconds = Histogram(
            f"{PREFIX}_pass_duration_seconds", "Time that one pass takes.", registry=registry
        )
        self._last_success = Gauge(
            f"{PREFIX}_last_success_timestamp_seconds",
            "When a pass last ended without a failure.",
            registry=registry,
        )

        self._drains = DrainTelemetry(registry)
        self._leading: set[str] = set()

    def record(self, result: PassResult) -> None:
        """Take note of one pass."""
        self._policies.set(len(result.policies.policies))
        self._broken.clear()
        for file, problems in result.policies.problems.items():
            self._broken.labels(file).set(len(problems))
        self._record_standings(result.standings)
        for outcome in result.outcomes:
            self._record_outcome(outcome, result.at)
        if not any(outcome.problem for outcome in result.outcomes):
            self._last_success.set(result.at)

    def _record_standings(self, standings: Mapping[str, Standing]) -> None:
        """What this daemon said of policies that another one looks after now is out of date."""
        leading = {namespace for namespace, standing in standings.items() if standing.leads}
        if self._leading - leading:
            for gauge in (self._replicas, self._recommended, self._drains.cordoned):
                gauge.clear()
        self._leading = leading
        self._leader.clear()
        for namespace in standings:
            self._leader.labels(namespace).set(namespace in leading)

    def _record_outcome(self, outcome: Outcome, result_at: float) -> None:
        policy = outcome.policy
        if outcome.problem:
            self._failures.labels(policy.name).inc()
        if outcome.changed:
            self._changes.labels(policy.name).inc()
        if outcome.decision is None or outcome.observed is None:
            return
        self._record_decision(policy.name, outcome.decision)
        self._drains.record(policy.name, outcome, outcome.decision, result_at)
        kinds = {
            "current": outcome.decision.current,
            "desired": outcome.decision.desired,
            "ready": sum(pod.serving for pod in outcome.observed.pods),
            "min": policy.replicas.min,
            "max": policy.replicas.max,
        }
        for kind, replicas in kinds.items():
            self._replicas.labels(policy.name, *policy.target.ref, kind).set(replicas)

    def _record_decision(self, name: str, decision: Decision) -> None:
        self._decisions.labels(name, decision.direction, decision.reason.value).inc()
        for recommendation in decision.recommendations:
            if recommendation.replicas is None:
                self._recommended.labels(name, recommendation.metric).set(float("nan"))
            else:
                self._recommended.labels(name, recommendation.metric).set(recommendation.replicas)
