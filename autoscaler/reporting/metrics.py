"""What the daemon says of itself: metrics, and the words of a pass for people and machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)

from autoscaler.control.pass_result import Outcome, PassResult
from autoscaler.core.drain.pods import is_draining
from autoscaler.model import Confirmation, Decision, Reason
from autoscaler.policy import Policy
from autoscaler.ports import CacheAge
from autoscaler.reporting.caches import CacheCollector
from autoscaler.reporting.events import HOLDS, UNREADABLE
from autoscaler.reporting.series import Family, Labels
from autoscaler.reporting.status import POLICY_LABELS, PREFIX, StatusCollector, policy_labels
from exporter.release import own_commit, own_version

# When a counter was made is a second series for each, and nobody's question.
disable_created_metrics()  # type: ignore[no-untyped-call]

# Steps that hold a scale-down, for good or for a time.
HOLDING = (HOLDS - UNREADABLE) | {
    Reason.COOLDOWN_DOWN,
    Reason.SCALE_DOWN_STABILIZED,
    Reason.SESSIONS_STILL_OPEN,
}
# A drain lasts as long as its last user stays: minutes to a working day.
DRAIN_BUCKETS = (30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 28_800)


class DrainMetrics:
    """The metrics of scale-downs: their duration, what held them, and what they must not do."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, words: str, *labels: str) -> Family[Counter]:
            names = [*POLICY_LABELS, *labels]
            return Family(Counter(f"{PREFIX}_{name}", words, names, registry=registry))

        self._cut = counter("sessions_cut", "Sessions that a scale-down ended.")
        self._mismatches = counter(
            "victim_mismatches",
            "Scale-downs in which Kubernetes deleted a pod other than the drained one.",
        )
        self._held = counter(
            "scale_downs_held",
            "Passes in which a scale-down was held, by reason.",
            "reason",
        )
        self._duration = Family(
            Histogram(
                f"{PREFIX}_drain_duration_seconds",
                "Time from a pod's cordon to its removal.",
                POLICY_LABELS,
                buckets=DRAIN_BUCKETS,
                registry=registry,
            )
        )

    def begin(self, policy: Policy) -> None:
        """Make the series exist from a policy's first drain on.

        A counter that begins with its first event hides that event.
        """
        labels = policy_labels(policy)
        for family in (self._cut, self._mismatches, self._duration):
            _ = family[labels]

    def keep(self, wanted: Callable[[Labels], bool]) -> None:
        """Remove the series of all other policies."""
        for family in (self._cut, self._mismatches, self._held, self._duration):
            family.keep(wanted)

    def record(self, outcome: Outcome, decision: Decision, at: float) -> None:
        """Take note of one policy's pass."""
        labels = policy_labels(outcome.policy)
        for reason in {step.reason for step in decision.steps} & HOLDING:
            self._held[*labels, reason.value].inc()
        if labels not in self._cut and not _drains(outcome, decision):
            return
        self.begin(outcome.policy)
        confirmed = decision.confirmed or Confirmation(0)
        self._cut[labels].inc(sum(each.sessions for each in decision.ended))
        self._mismatches[labels].inc(confirmed.mismatch)
        for pod in decision.drain.remove if decision.drain and outcome.changed else ():
            if pod.cordon is not None:
                self._duration[labels].observe(at - pod.cordon.at)


def _drains(outcome: Outcome, decision: Decision) -> bool:
    """Return whether pods of the policy are drained, or are being removed."""
    if outcome.decided is not None and outcome.decided.before.departing:
        return True
    marks = decision.drain.marks if decision.drain else ()
    pods = outcome.observed.active if outcome.observed else ()
    return any(map(is_draining, pods)) or any(not new.routable for _, new in marks)


class DaemonMetrics:
    """A `Recorder` that keeps the daemon's own metrics in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def per_policy(name: str, words: str, *labels: str) -> Family[Counter]:
            names = [*POLICY_LABELS, *labels]
            return Family(Counter(f"{PREFIX}_{name}", words, names, registry=registry))

        def gauge(name: str, words: str, *labels: str) -> Gauge:
            return Gauge(f"{PREFIX}_{name}", words, labels, registry=registry)

        Info(PREFIX, "Version and commit of this daemon.", registry=registry).info(
            {"version": own_version(), "commit": own_commit()}
        )
        self._last = StatusCollector()
        registry.register(self._last)
        self._decisions = per_policy(
            "decisions",
            "Scaling decisions, by direction and final reason.",
            "direction",
            "reason",
        )
        self._changes = per_policy("changes", "Changes of the replica count that took effect.")
        self._failures = per_policy(
            "failures", "Passes in which a policy's target could not be read or scaled."
        )
        self._broken = Family(
            gauge(
                "policy_file_errors",
                "Errors in a policy file, whose last valid version, if any, stays active.",
                "file",
            )
        )
        self._unevaluated = Family(
            gauge(
                "unevaluated_policies",
                "1 if nobody evaluates a policy of this standby, for the leader lacks it; else 0.",
                *POLICY_LABELS,
            )
        )
        self._policies = gauge("policies", "Active policies.")
        self.pass_seconds = Histogram(
            f"{PREFIX}_pass_duration_seconds", "Time that one pass takes.", registry=registry
        )
        self.pass_interval = gauge(
            "pass_interval_seconds", "Time from the start of one pass to the next."
        )
        self.clock_offset = gauge(
            "clock_offset_seconds",
            "Seconds by which the clock of the daemon's machine is ahead of the API server's.",
        )
        self._last_pass = gauge("last_pass_timestamp_seconds", "When a pass last ended.")
        self._last_success = gauge(
            "last_success_timestamp_seconds", "When a pass last ended without a failure."
        )
        self._drains = DrainMetrics(registry)
        self._known: tuple[Policy, ...] = ()

    def show_journal(self, is_writing: Callable[[], bool]) -> None:
        """Add the metric of a journal that the daemon writes."""
        words = "1 while the journal is written, 0 after an error has ended it."
        journal = Gauge(f"{PREFIX}_journal_writing", words, registry=self.registry)
        journal.set_function(is_writing)

    def show_price(self, price: float) -> None:
        """Add the metric of what one replica-hour costs, by which dashboards tell of money."""
        words = "Price of a replica-hour, in any currency."
        Gauge(f"{PREFIX}_replica_hour_price", words, registry=self.registry).set(price)

    def show_shards(self, count: int, leads: Callable[[int], bool]) -> None:
        """Add the metric of the shards in which the daemon leads."""
        words = "1 if this daemon is the leader of the shard, 0 if another one is, or none."
        leader = Gauge(f"{PREFIX}_leader", words, ["shard"], registry=self.registry)
        for shard in range(count):
            leader.labels(shard).set_function(partial(leads, shard))

    def show_caches(self, ages: Callable[[], Iterable[CacheAge]]) -> None:
        """Add the metrics of what the daemon watches."""
        self.registry.register(CacheCollector(ages))

    def record(self, result: PassResult) -> None:
        """Take note of one pass, and end the series of policies and files that are gone."""
        self._last.record(result)
        self._policies.set(len(result.policies.policies))
        self._record_files(result.policies.rejected)
        self._record_leadership(result)
        for outcome in result.outcomes:
            self._record_outcome(outcome, result.at)
        if result.policies.policies != self._known:
            self._known = result.policies.policies
            self._keep_known()
        self._last_pass.set(result.at)
        if not any(outcome.problem for outcome in result.outcomes):
            self._last_success.set(result.at)

    def _keep_known(self) -> None:
        """End the series of policies that are gone."""
        known = set(map(policy_labels, self._known))

        def is_known(labels: Labels) -> bool:
            return labels[: len(POLICY_LABELS)] in known

        self._drains.keep(is_known)
        for family in (self._decisions, self._changes, self._failures):
            family.keep(is_known)

    def _record_files(self, problems: Mapping[str, tuple[str, ...]]) -> None:
        for file, found in problems.items():
            self._broken[file,].set(len(found))
        self._broken.keep(lambda labels: labels[0] in problems)

    def _record_leadership(self, result: PassResult) -> None:
        standing_by = {
            policy_labels(policy): policy in result.unevaluated
            for policy in result.policies.policies
            if (status := result.leadership.get(policy.target.namespace)) and status.is_standby
        }
        for labels, lacking in standing_by.items():
            self._unevaluated[labels].set(lacking)
        self._unevaluated.keep(lambda labels: labels in standing_by)

    def _record_outcome(self, outcome: Outcome, at: float) -> None:
        labels = policy_labels(outcome.policy)
        if outcome.problem is not None:
            self._failures[labels].inc()
        self._changes[labels].inc(outcome.changed)
        decision = outcome.decision
        if decision is None:
            return
        self._decisions[*labels, decision.direction, decision.reason.value].inc()
        self._drains.record(outcome, decision, at)
