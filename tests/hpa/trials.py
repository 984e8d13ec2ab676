"""Puts cases before the real HPA controller, many at a time, and says what it made of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

from kubernetes import client

from tests.hpa import objects
from tests.hpa.oracle import NAMESPACE, Oracle
from tests.hpa.served_apis import Target
from tests.lab.access import connected, raw
from tests.lab.processes import wait_until

Fact = dict[str, Any]
AT_A_TIME = 60
ANSWERED_WITHIN = 60.0  # seconds; the first sync comes after one
WRITERS = 4


def outcomes(oracle: Oracle, facts: Sequence[Fact]) -> Iterator[Fact]:
    """Each fact with what the real controller's first sync did, under `expect`."""
    with ThreadPoolExecutor(WRITERS) as pool, connected(oracle.cluster.admin) as api:
        core: Any = client.CoreV1Api(api)
        for start in range(0, len(facts), AT_A_TIME):
            batch = facts[start : start + AT_A_TIME]
            list(pool.map(lambda fact: _set_up(oracle, core, fact), batch))
            yield from _decide(oracle, batch)


def _set_up(oracle: Oracle, core: Any, fact: Fact) -> None:
    """Everything but the HPA: by its first sync, a second later, the controller knows of it all."""
    name, now = target_name(fact), datetime.now(UTC).replace(microsecond=0)
    status_replicas = next(
        (metric["status_replicas"] for metric in fact["metrics"] if "status_replicas" in metric),
        fact["current"],
    )
    oracle.apis.targets[name] = Target(name, fact["current"], status_replicas)
    oracle.apis.pod_metrics[name] = objects.pod_metrics(fact, name, now)
    for index, metric in enumerate(fact["metrics"]):
        if samples := metric.get("samples"):
            oracle.apis.external[objects.external_name(name, index)] = partial(list, samples)
    for number, shared in enumerate(objects.shared_pods(fact)):
        body = objects.pod(fact, name, number)
        pod = body["metadata"]["name"]
        raw(core.create_namespaced_pod, NAMESPACE, body)
        raw(core.patch_namespaced_pod_status, pod, NAMESPACE, objects.pod_status(shared, now))
        if shared.get("deleted"):
            raw(core.delete_namespaced_pod, pod, NAMESPACE, grace_period_seconds=0)


def target_name(fact: Fact) -> str:
    return f"case-{fact['id'].lower()}"


def _decide(oracle: Oracle, batch: Sequence[Fact]) -> Iterator[Fact]:
    names = [target_name(fact) for fact in batch]
    for fact, name in zip(batch, names, strict=True):
        oracle.create(name, objects.hpa_spec(fact, name))
    wait_until(
        lambda: all(oracle.synced(name) for name in names), ANSWERED_WITHIN, "every first sync"
    )
    oracle.delete(names)
    for fact, name in zip(batch, names, strict=True):
        yield {**fact, "expect": _first_sync(oracle, name)}


def _first_sync(oracle: Oracle, name: str) -> Fact:
    """The number asked for, and the reasons that the HPA's status gave for it then."""
    status, sync = oracle.statuses[name][0], oracle.apis.targets[name].syncs[0]
    reasons = {each["type"]: each["reason"] for each in status["conditions"]}
    expected: Fact = {"replicas": sync.replicas}
    if "ScalingActive" in reasons:
        expected["condition"] = reasons["ScalingActive"]
    if reasons["AbleToScale"] not in UNTOLD:
        expected["able"] = reasons["AbleToScale"]
    if "ScalingLimited" in reasons:
        expected["limited"] = reasons["ScalingLimited"]
    return expected


# What AbleToScale says when it does not say whether a window held the number.
UNTOLD = {"SucceededRescale", "SucceededGetScale"}
