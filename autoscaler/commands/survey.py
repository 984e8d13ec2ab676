"""What the policies would read from Prometheus now: their queries, and the signals of pods.

The cluster is not asked, so a Deployment's pods are recognized by their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from autoscaler.adapters.prometheus.rows import QueryResult
from autoscaler.control.observation import required_queries, required_signals
from autoscaler.model import Sample, Unavailable
from autoscaler.policy import Policy
from autoscaler.ports import Readings, Signal
from autoscaler.units import duration_text

if TYPE_CHECKING:
    from autoscaler.adapters.prometheus.source import PrometheusSource

_CHECK = "check --scrape-interval and that Prometheus scrapes port 9550"


class Finding(NamedTuple):
    """What one query or signal returned. subject: the PromQL, or the signal's name and source.

    type, series, value: of a query's result. pods: number of the target's pods that have the
    signal. age: of the oldest sample, in seconds. problem: why it is unusable, in one line.
    """

    kind: str
    subject: str
    problem: str | None = None
    type: str | None = None
    series: int | None = None
    value: float | None = None
    pods: int | None = None
    age: float | None = None

    @property
    def line(self) -> str:
        """The finding as a line of text."""
        if self.problem is not None:
            return f"{self.kind} {self.subject}: PROBLEM: {self.problem}"
        age = duration_text(round(self.age or 0.0))
        if self.kind == "signal":
            return f"{self.kind} {self.subject}: {self.pods} pods, the oldest sample is {age} old"
        count = "" if self.type == "scalar" else f", {self.series} series"
        return f"{self.kind} {self.subject}: {self.value:g} ({self.type}{count}, {age} old)"

    @property
    def document(self) -> dict[str, Any]:
        """The finding as JSON values."""
        found = self._asdict()
        age = found.pop("age")
        found["age_s"] = None if age is None else round(age, 1)
        return {"ok": self.problem is None, **{k: v for k, v in found.items() if v is not None}}


def survey(
    source: PrometheusSource, policies: Sequence[Policy], now: Callable[[], float]
) -> dict[str, tuple[Finding, ...]]:
    """Return what the queries and signals of each policy return, by policy name.

    Equal queries are asked once. Never raises.
    """
    queries = {query for policy in policies for query in required_queries(policy)}
    signals = {pair for policy in policies for pair in required_signals(policy).items()}
    numbers = source.examine(queries)
    vectors = [q for q, n in numbers.items() if n.kind == "vector" and isinstance(n.number, Sample)]
    # For a plain selector this is when its sample was scraped, else when the query was evaluated.
    times = source.examine(map(_time_of, vectors))
    readings = source.read(signals, (), now())
    return {
        policy.name: (
            *(_of_query(query, numbers[query], times, now()) for query in required_queries(policy)),
            *_of_signals(policy, readings, now()),
        )
        for policy in policies
    }


def _time_of(query: str) -> str:
    """Return a query for a query's time; on lines of its own, because it may end in a comment."""
    return f"timestamp((\n{query}\n))"


def _of_query(
    query: str, read: QueryResult, times: Mapping[str, QueryResult], now: float
) -> Finding:
    subject = " ".join(query.split())
    if isinstance(read.number, Unavailable):
        return Finding("query", subject, read.number.message, read.kind or None, read.series)
    timed = times.get(_time_of(query))
    at = read.number.at
    if timed is not None and isinstance(timed.number, Sample):
        at = timed.number.value / 1000
    age, value = max(0.0, now - at), read.number.value / 1000
    return Finding("query", subject, None, read.kind, read.series, value, age=age)


def _of_signals(policy: Policy, readings: Readings, now: float) -> Iterable[Finding]:
    for signal, source in required_signals(policy).items():
        subject = f"{signal} ({source}) of {policy.target.ref}"
        yield _of_signal(subject, signal, source, policy, readings, now)


def _of_signal(
    subject: str, signal: Signal, source: str, policy: Policy, readings: Readings, now: float
) -> Finding:
    if (signal, source) in readings.failed:
        return Finding("signal", subject, readings.failed[signal, source])
    pods = _pods_of(policy, _by_pod(signal, source, readings))
    if not pods:
        absent = f"no pod named {policy.target.deployment}-* has this signal"
        why = readings.hints.get((signal, source)) or _usual_reason(signal, readings)
        return Finding("signal", subject, f"{absent}: {why}", pods=0)
    oldest = min(sample.at for samples in pods for sample in samples)
    return Finding("signal", subject, pods=len(pods), age=max(0.0, now - oldest))


def _usual_reason(signal: Signal, readings: Readings) -> str:
    if signal == "memory_limit":
        return "set resources.limits.memory on the container that serves the app"
    if signal in ("arrivals", "departures", "cpu"):
        return f"a rate needs two scrapes; {_CHECK}"
    fresh = duration_text(round(readings.fresh_for))
    return f"there is no sample within {fresh}; {_CHECK}"


def _by_pod(
    signal: Signal, source: str, readings: Readings
) -> Mapping[tuple[str, str], list[Sample]]:
    if (signal, source) == ("memory", "cadvisor"):
        return {pod: list(each.values()) for pod, each in readings.containers.items() if each}
    return {pod: [sample] for pod, sample in readings.samples.get((signal, source), {}).items()}


def _pods_of(
    policy: Policy, by_pod: Mapping[tuple[str, str], list[Sample]]
) -> Sequence[list[Sample]]:
    """Return the samples of pods named DEPLOYMENT-HASH-SUFFIX, as a ReplicaSet names them."""
    namespace, deployment = policy.target.ref
    # The API server truncates long names to make room for the suffix.
    name = re.compile(rf"{re.escape(f'{deployment}-'[:58])}[a-z0-9]*(-[a-z0-9]+)?")
    return [each for (ns, pod), each in by_pod.items() if ns == namespace and name.fullmatch(pod)]
