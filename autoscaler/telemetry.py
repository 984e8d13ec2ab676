"""What the daemon says of itself: metrics, and the words of a pass for people and machines."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from autoscaler.controller import Outcome, PassResult
from autoscaler.model import Decision

PREFIX = "bokeh_autoscaler"


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
        self._policies = Gauge(f"{PREFIX}_policies", "Policies in force.", registry=registry)
        self.pass_seconds = Histogram(
            f"{PREFIX}_pass_duration_seconds", "Time that one pass takes.", registry=registry
        )
        self._last_success = Gauge(
            f"{PREFIX}_last_success_timestamp_seconds",
            "When a pass last ended without a failure.",
            registry=registry,
        )

    def record(self, result: PassResult) -> None:
        """Take note of one pass."""
        self._policies.set(len(result.policies.policies))
        self._broken.clear()
        for file, problems in result.policies.problems.items():
            self._broken.labels(file).set(len(problems))
        for outcome in result.outcomes:
            self._record_outcome(outcome)
        if not any(outcome.problem for outcome in result.outcomes):
            self._last_success.set(result.at)

    def _record_outcome(self, outcome: Outcome) -> None:
        policy = outcome.policy
        if outcome.problem:
            self._failures.labels(policy.name).inc()
        if outcome.changed:
            self._changes.labels(policy.name).inc()
        if outcome.decision is None or outcome.observed is None:
            return
        self._record_decision(policy.name, outcome.decision)
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
