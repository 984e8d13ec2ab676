"""What the daemon saw in its last pass over each policy, as gauges.

They are made when somebody asks, from the active policies: one that is gone, or whose target can no
longer be read, leaves no series behind for an alert to keep firing on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from autoscaler.control.observation import required_signals
from autoscaler.control.pass_result import Outcome, PassResult
from autoscaler.control.reachability import MOST
from autoscaler.core import forecast, sessions, starts, sticky_bound, trust
from autoscaler.core.drain.pods import is_cordoned_by_hand
from autoscaler.core.holds import pause_of
from autoscaler.core.hpa import replicas
from autoscaler.core.now import Now
from autoscaler.core.sticky_bound import Packed
from autoscaler.core.trust import Said
from autoscaler.model import Decision, Observation, PodState, Starts, State
from autoscaler.policy import Policy
from autoscaler.ports import LeadershipStatus

PREFIX = "bokeh_autoscaler"
POLICY_LABELS = ("policy", "namespace", "deployment")
# Name to help, and the labels beside those of the policy.
GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "replicas": ("Replicas of the target: current, desired, ready, min and max.", ("kind",)),
    "policy_desired_replicas": (
        "Replicas that one metric of a policy asks for; absent while it has no data.",
        ("metric",),
    ),
    "seats": (
        "Seats of the pods that get new sessions, and of the reserve: capacity and free.",
        ("kind",),
    ),
    "seats_per_pod": (
        "Seats of one pod, if the policy learns them (`seats: auto`); else absent.",
        (),
    ),
    "cost_replicas": (
        "Pods that are billed, and that the sessions need at least: sticky_bound, fluid_bound.",
        ("kind",),
    ),
    "lead_time_seconds": (
        "Time from creation to Ready, of 95 % of the last pods: those with a node at once, or not.",
        ("node",),
    ),
    "forecast_error_ratio": (
        "Error of the forecast by the weeks, or the days, before: 1 is that of none; last day.",
        ("profile",),
    ),
    "forecast_used": (
        "0 while the forecast by the weeks, or the days, before is too wrong to be used, else 1.",
        ("profile",),
    ),
    "forecast_coverage_ratio": (
        "Share of users who came while no more came than the forecast allows for, in the last day.",
        (),
    ),
    "pods_without_data": (
        "Pods without a fresh session count, if any. They count as full and busy.",
        (),
    ),
    "unreachable_sidecars": (
        "Pods whose sidecar the daemon cannot reach, if any. They are busy and not deleted.",
        (),
    ),
    "unreachable_pod": (
        "1 for each pod whose sidecar the daemon cannot reach; at most 50 of a policy.",
        ("pod",),
    ),
    "paused": ("1 while the policy is paused, by itself or by an annotation; else absent.", ()),
    "cordoned_pods": (
        "Cordoned pods, if any, by cause: scale-down, full, reserve (until needed), or hand.",
        ("cause",),
    ),
    "cordoned_pod": (
        "1 for each cordoned pod, with its cause; at most 50 of a policy.",
        ("pod", "cause"),
    ),
}


# The cause of a cordon that is not the daemon's.
BY_HAND = "hand"
# Seconds for which what was seen of a target that cannot be read is still told, so that an alert
# does not begin anew with each failed pass.
TOLD_FOR = 60.0


class Row(NamedTuple):
    """One value of a gauge. labels: the values of those that it has of its own."""

    name: str
    labels: tuple[str, ...]
    value: float


class Seen(NamedTuple):
    """What was seen of a policy; it holds as long as its outcome stands, until a time.

    packed: where the sticky bound has the sessions; None: nobody knows. unread_since: when a pass
    could not read the target, if none has read it since (Unix seconds).
    """

    outcome: Outcome
    rows: Sequence[Row]
    holds_until: float
    packed: Packed | None
    unread_since: float | None = None

    def unread(self, at: float) -> Seen:
        """Return the same after a pass that could not read the target."""
        return self if self.unread_since is not None else self._replace(unread_since=at)

    def is_told(self, at: float) -> bool:
        """Return whether it is still told."""
        return self.unread_since is None or abs(at - self.unread_since) < TOLD_FOR


def policy_labels(policy: Policy) -> tuple[str, ...]:
    """The values of POLICY_LABELS."""
    return (policy.name, *policy.target.ref)


class StatusCollector(Collector):
    """Remembers what each policy's last pass that could read its target saw, for a while."""

    def __init__(self) -> None:
        self._seen: Mapping[tuple[str, ...], Seen] = {}

    def record(self, result: PassResult) -> None:
        """Take note of one pass, which need not have had every policy's turn."""
        ours = [p for p in result.policies.policies if not _is_anothers(p, result.leadership)]
        seen = {policy_labels(outcome.policy): outcome for outcome in result.outcomes}
        known = {each: self._now_seen(each, seen, result.at) for each in map(policy_labels, ours)}
        self._seen = {
            labels: each for labels, each in known.items() if each and each.is_told(result.at)
        }

    def _now_seen(
        self, labels: tuple[str, ...], outcomes: Mapping[tuple[str, ...], Outcome], at: float
    ) -> Seen | None:
        """Return what is known of a policy; an outcome that stands is not looked at again."""
        last, outcome = self._seen.get(labels), outcomes.get(labels)
        if outcome is None:
            return last
        if last and last.outcome is outcome and at < last.holds_until:
            return last._replace(unread_since=None)
        now = Now(at)
        packed = _packed(outcome, last, at)
        rows = tuple(_rows(outcome, packed, now))
        return Seen(outcome, rows, now.holds_until, packed) if rows else last and last.unread(at)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every gauge, with the series of every policy."""
        families = {name: _family(name) for name in GAUGES}
        for labels, seen in self._seen.items():
            for name, own, value in seen.rows:
                families[name].add_metric([*labels, *own], value)
        yield from families.values()


def _is_anothers(policy: Policy, statuses: Mapping[str, LeadershipStatus]) -> bool:
    """Whether another daemon looks after the policy: what this one said of it is out of date."""
    status = statuses.get(policy.target.namespace)
    return status is not None and status.is_standby


def _family(name: str) -> GaugeMetricFamily:
    words, own = GAUGES[name]
    return GaugeMetricFamily(f"{PREFIX}_{name}", words, labels=[*POLICY_LABELS, *own])


def _packed(outcome: Outcome, last: Seen | None, at: float) -> Packed | None:
    """Return where the sticky bound has the sessions, if the policy says how many a pod has.

    With other seats than before, they are packed anew.
    """
    metric, observed = outcome.policy.sessions, outcome.observed
    if metric is None or observed is None:
        return None
    known = last and last.outcome.policy.sessions
    before = last.packed if last and known and known.seats == metric.seats else None
    return sticky_bound.follow(before, observed.pods, metric.seats, at)


def _rows(outcome: Outcome, packed: Packed | None, now: Now) -> Iterator[Row]:
    """Yield what an outcome says; counts of what is wrong or rare only where they are not zero."""
    policy, decision, observed = outcome.policy, outcome.decision, outcome.observed
    if decision is None or observed is None:
        return
    yield from _replicas(policy, decision, observed)
    yield from _costs(policy, observed, packed)
    yield from _some("paused", pause_of(policy, observed) is not None)
    asked = [(r.metric, r.replicas) for r in decision.recommendations if r.replicas is not None]
    for metric, wanted in dict(sorted(asked)).items():  # of two alike, the larger counts
        yield Row("policy_desired_replicas", (metric,), wanted)
    yield from _cordons(observed.active)
    if policy.drain is not None:
        yield from _some("unreachable_sidecars", len(outcome.unreachable))
        for pod in {each.pod for each in outcome.unreachable[:MOST]}:
            yield Row("unreachable_pod", (pod,), 1)
    if "sessions" in required_signals(policy):
        count = sessions.without_data(observed.pods, now, observed.fresh_for)
        yield from _some("pods_without_data", count)
    if outcome.decided is not None:
        yield from _lead_times(outcome.decided.after.starts)
        yield from _forecast(policy, outcome.decided.after, now)
    if policy.sessions is not None:
        found = sessions.seating(observed.pods, policy.sessions.seats)
        yield Row("seats", ("capacity",), found.capacity)
        yield Row("seats", ("free",), found.free)
    if outcome.seats is not None:
        yield Row("seats_per_pod", (), outcome.seats.seats)


def _costs(policy: Policy, observed: Observation, packed: Packed | None) -> Iterator[Row]:
    yield Row("cost_replicas", ("billed",), sum(pod.is_billed for pod in observed.pods))
    if policy.sessions is not None and packed is not None:
        least, needed = policy.replicas.min, sticky_bound.count_sessions(packed)
        fluid = replicas.sessions(needed, 0, policy.sessions.seats)
        sticky = sticky_bound.count_pods(packed)
        yield Row("cost_replicas", ("sticky_bound",), max(least, sticky))
        yield Row("cost_replicas", ("fluid_bound",), max(least, fluid))


def _cordons(active: Sequence[PodState]) -> Iterator[Row]:
    """Yield how many pods are cordoned for each cause, and which."""
    causes = {pod.name: pod.cordon.cause.value for pod in active if pod.cordon is not None}
    causes |= {pod.name: BY_HAND for pod in active if is_cordoned_by_hand(pod)}
    for cause, count in Counter(causes.values()).items():
        yield Row("cordoned_pods", (cause,), count)
    for name, cause in islice(causes.items(), MOST):
        yield Row("cordoned_pod", (name, cause), 1)


def _lead_times(known: Starts) -> Iterator[Row]:
    for node, times in (("at_once", known.at_once), ("waited", known.waited)):
        if times:
            yield Row("lead_time_seconds", (node,), starts.percentile(times))


def _forecast(policy: Policy, after: State, now: Now) -> Iterator[Row]:
    """Yield how right the forecast was, where there is one and the policy uses it."""
    known = after.traffic and after.traffic.profile
    if not known or not policy.forecasts:
        return
    profile = forecast.caught_up(known, now)
    if not profile.day:
        return
    score = profile.score
    for name, error in zip(Said._fields, trust.errors_of(score), strict=True):
        yield Row("forecast_error_ratio", (name,), error)
        yield Row("forecast_used", (name,), error <= trust.WORSE)
    if (covered := trust.coverage(score)) is not None:
        yield Row("forecast_coverage_ratio", (), covered)


def _some(name: str, count: int) -> Iterator[Row]:
    if count:
        yield Row(name, (), count)


def _replicas(policy: Policy, decision: Decision, observed: Observation) -> Iterator[Row]:
    yield Row("replicas", ("current",), decision.current)
    yield Row("replicas", ("desired",), decision.desired)
    yield Row("replicas", ("ready",), sum(pod.serving for pod in observed.pods))
    yield Row("replicas", ("min",), policy.replicas.min)
    yield Row("replicas", ("max",), policy.replicas.max)
