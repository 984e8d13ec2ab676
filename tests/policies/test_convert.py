"""An HPA or a ScaledObject as a policy file, and what is said of all that has no equivalent."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.policy import CpuMetric, MemoryMetric, PrometheusMetric
from tests.policies.files import table
from tests.policies.manifests import (
    QUIET,
    a_list,
    annotated,
    asked,
    conversions,
    converted,
    cpu,
    cron,
    external,
    hpa,
    pods,
    resource,
    scaled,
)

OF_DASH = 'namespace="bokeh",pod=~"dash-[^-]+-[^-]+"'


def queried(query: str, **goal: float) -> PrometheusMetric:
    return PrometheusMetric.model_validate({"type": "prometheus", "query": query, **goal})


CPU_65 = CpuMetric(type="cpu", utilization="65%")  # type: ignore[arg-type]
MEMORY_65 = MemoryMetric(type="memory", utilization="65%")  # type: ignore[arg-type]
CONTAINER = {"name": "memory", "container": "app", "target": {"averageUtilization": 65}}
OLD_CPU = {"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 65}}
OLD_PODS = {"type": "Pods", "pods": {"metricName": "load", "targetAverageValue": "7"}}
RPS = {"metric": {"name": "rps"}, "describedObject": {"kind": "Ingress", "name": "main"}}
MIXED = {
    "matchLabels": {"queue.name": 'a"b'},
    "matchExpressions": [
        {"key": "zone", "operator": "In", "values": ["a", "b.c"]},
        {"key": "old", "operator": "DoesNotExist"},
    ],
}
METRICS: dict[str, tuple[Any, list[Any]]] = {
    "the CPU of an HPA": (hpa(metrics=[cpu(65)]), [CPU_65]),
    "an HPA of version 1": (hpa("autoscaling/v1", targetCPUUtilizationPercentage=65), [CPU_65]),
    "an HPA of version v2beta1": (hpa(metrics=[OLD_CPU]), [CPU_65]),
    "a metric of the pods in version v2beta1": (
        hpa(metrics=[OLD_PODS]),
        [queried(f"sum(load{{{OF_DASH}}})", perReplica=7)],
    ),
    "an HPA that names no metric, for which 80 % of the CPU counts": (
        hpa(),
        [CPU_65.with_values(utilization=80.0)],
    ),
    "the memory of an HPA": (
        hpa(metrics=[resource("memory", averageUtilization=65)]),
        [MEMORY_65],
    ),
    "a resource of one container": (
        hpa(metrics=[{"type": "ContainerResource", "containerResource": CONTAINER}]),
        [MEMORY_65],
    ),
    "an amount of CPU": (
        hpa(metrics=[resource("cpu", averageValue="500m")]),
        [
            queried(
                f"sum(max by (pod) (rate(bokeh_cpu_seconds_total{{{OF_DASH}}}[1m])))",
                perReplica=0.5,
            )
        ],
    ),
    "an amount of memory": (
        hpa(metrics=[resource("memory", averageValue="512Mi")]),
        [
            queried(
                f"sum(max by (pod) (bokeh_memory_working_set_bytes{{{OF_DASH}}}))",
                perReplica=512 * 1024**2,
            )
        ],
    ),
    "a metric of the pods, whose target the API server writes as 1k": (
        hpa(metrics=[pods("load", "1k")]),
        [queried(f"sum(load{{{OF_DASH}}})", perReplica=1000)],
    ),
    "a metric of an object": (
        hpa(metrics=[{"type": "Object", "object": {**RPS, "target": {"value": "2k"}}}]),
        [queried('sum(rps{namespace="bokeh",ingress="main"})', value=2000)],
    ),
    "an external metric": (
        hpa(metrics=[external("queue", averageValue="7500m")]),
        [queried('sum(queue{namespace="bokeh"})', perReplica=7.5)],
    ),
    "an external metric by labels": (
        hpa(metrics=[external("queue", MIXED, value="30")]),
        [
            queried(
                'sum(queue{namespace="bokeh",queue_name="a\\"b",zone=~"a|b\\\\.c",old=""})',
                value=30,
            )
        ],
    ),
    "an external metric of another namespace": (
        hpa(metrics=[external("q", {"matchLabels": {"namespace": "kafka"}}, value="30")]),
        [queried('sum(q{namespace="kafka"})', value=30)],
    ),
    "a label that PromQL cannot name": (
        hpa(metrics=[external("q", {"matchLabels": {"5xx": "a", "b": "c"}}, value="30")]),
        [queried('sum(q{namespace="bokeh",b="c"})', value=30)],
    ),
    "a name that PromQL does not know": (
        hpa(metrics=[external("s0-rabbit/x", value="30")]),
        [queried('sum({__name__="s0-rabbit/x",namespace="bokeh"})', value=30)],
    ),
    "several metrics, in their order": (
        hpa(metrics=[external("queue", value="30"), cpu(65)]),
        [queried('sum(queue{namespace="bokeh"})', value=30), CPU_65],
    ),
    "a query of KEDA": (scaled(asked("sum(x)", "2.5")), [queried("sum(x)", perReplica=2.5)]),
    "a query of KEDA for all pods together": (
        scaled(asked('sum(x{a="b: #c"})', "20", metricType="Value")),
        [queried('sum(x{a="b: #c"})', value=20)],
    ),
    "a query of several lines": (
        scaled(asked("sum(\n  x\n)", "20")),
        [queried("sum(\n  x\n)", perReplica=20)],
    ),
    "the CPU of KEDA": (
        scaled({"type": "cpu", "metricType": "Utilization", "metadata": {"value": "65"}}),
        [CPU_65],
    ),
    "the CPU of KEDA in the older words": (
        scaled({"type": "cpu", "metadata": {"type": "Utilization", "value": "65"}}),
        [CPU_65],
    ),
    "an amount of memory of KEDA": (
        scaled({"type": "memory", "metricType": "AverageValue", "metadata": {"value": "1Gi"}}),
        [
            queried(
                f"sum(max by (pod) (bokeh_memory_working_set_bytes{{{OF_DASH}}}))",
                perReplica=1024**3,
            )
        ],
    ),
}


@pytest.mark.parametrize(("manifest", "metrics"), table(METRICS))
def test_each_metric_is_one_of_a_policy(write, manifest, metrics):
    found = converted(manifest)

    assert [*found.policy.metrics] == metrics
    assert load_policy(write(found.text)) == found.policy


WITHOUT_RULES = {"scaleUp": None, "scaleDown": {"policies": None, "selectPolicy": None}}
NULLS = {
    "the minimum of an HPA": (hpa(minReplicas=None), hpa(minReplicas=1)),
    "the metrics of an HPA": (
        hpa(metrics=None, targetCPUUtilizationPercentage=None),
        hpa(),
    ),
    "the rules of an HPA": (hpa(behavior=WITHOUT_RULES), hpa(behavior={"scaleDown": {}})),
    "the bounds of a ScaledObject": (
        scaled(asked("sum(x)", "8"), minReplicaCount=None, maxReplicaCount=None),
        scaled(asked("sum(x)", "8")),
    ),
    "all that is optional in a ScaledObject": (
        scaled(
            asked("sum(x)", "8", metricType=None, authenticationRef=None),
            scaleTargetRef={"kind": None, "name": "dash"},
            advanced={"restoreToOriginalReplicaCount": None, "scalingModifiers": None},
            fallback={"replicas": 3, "behavior": None, "failureThreshold": None},
            idleReplicaCount=None,
            pollingInterval=None,
        ),
        scaled(asked("sum(x)", "8"), fallback={"replicas": 3}, advanced={}),
    ),
    "a namespace": (
        {**hpa(metrics=[pods("load", "7")]), "metadata": {"name": "dash", "namespace": None}},
        {**hpa(metrics=[pods("load", "7")]), "metadata": {"name": "dash"}},
    ),
}


@pytest.mark.parametrize(("manifest", "same"), table(NULLS))
def test_null_is_unset_as_for_the_api_server(manifest, same):
    assert converted(manifest, seats=20) == converted(same, seats=20)


def test_with_seats_the_sessions_come_first(write):
    found = converted(hpa(metrics=[cpu()]), seats=20)

    assert [each.type for each in found.policy.metrics] == ["sessions", "cpu"]
    assert found.policy.sessions.seats == 20
    assert found.policy.sessions.spare.refuse == 0.1
    assert load_policy(write(found.text)) == found.policy
    assert found.notes == ()


def test_what_is_not_a_metric_is_carried_over(write):
    manifest = scaled(
        asked("sum(x)", "20"),
        cron(start="0 8 * * MON-FRI"),
        cron(start="30 22 * * *", end="0 6 * * *", replicas="6"),
        minReplicaCount=2,
        maxReplicaCount=12,
        pollingInterval=10,
        fallback={"failureThreshold": 3, "replicas": 5, "behavior": "currentReplicasIfHigher"},
        advanced={"horizontalPodAutoscalerConfig": {"behavior": QUIET}},
    )
    found = converted(annotated(manifest, paused="true"), seats=20)
    policy = found.policy

    assert (policy.name, str(policy.target.ref)) == ("dash", "bokeh/dash")
    assert (policy.replicas.min, policy.replicas.max) == (2, 12)
    assert policy.behavior.scale_down.stabilization_window_seconds == 60
    assert (policy.fallback.after, policy.fallback.replicas) == (30.0, 5)
    assert [(w.days[0], w.days[-1], w.hours, w.min) for w in policy.schedule] == [
        ("mon", "fri", "08:00 to 18:00 Europe/Berlin", 4),
        ("mon", "sun", "22:30 to 06:00 Europe/Berlin", 6),
    ]
    assert policy.paused
    assert load_policy(write(found.text)) == policy


def test_the_file_says_where_each_value_is_from():
    manifest = hpa(metrics=[cpu(), external("queue", value="30")])
    assert (
        converted(manifest, seats=20).text
        == """\
# Converted from the HorizontalPodAutoscaler dash in the namespace bokeh.
# Delete the HorizontalPodAutoscaler when the daemon has this policy.
name: dash
target: {namespace: bokeh, deployment: dash}
replicas: {min: 2, max: 12}
metrics:
  # From --seats. Decide which free seats to keep (spare).
  - {type: sessions, seats: 20, spare: {refuse: 0.1%}}
  # spec.metrics[0]
  - {type: cpu, utilization: 65%}
  # spec.metrics[1]: decide: an adapter in the cluster answers for this metric, and its name does
  # not tell how: compare the query with the adapter's rule
  - type: prometheus
    query: 'sum(queue{namespace="bokeh"})'
    value: 30
# behavior is not set: scale-ups have no rate limit here, where an HPA makes at most twice the pods,
# or 4, every 15 s.
"""
    )


def test_what_is_left_out_is_a_comment_too():
    manifest = scaled(asked("sum(x)", "8"), cron(start="0 8 * * 1", end="0 18 * * 5"))
    told = "decide: a cron trigger that does not open and close daily is left out"
    assert f"# spec.triggers[1]: {told}\n" in converted(manifest, seats=20).text


def test_an_hpa_without_metrics_has_the_default_of_kubernetes():
    text = converted(hpa(), seats=20).text
    assert "targetCPUUtilizationPercentage" not in text
    assert "  # spec.metrics: decide: no metric is set, for which Kubernetes takes 80 %" in text


def test_a_calendar_is_split_at_any_spaces_as_by_cron():
    manifest = scaled(cron(start="0  8 * * 1-5", end=" 0 18\t* *  1-5 "))
    [window] = converted(manifest, seats=20).policy.schedule
    assert window.hours == "08:00 to 18:00 Europe/Berlin"


def test_several_of_one_name_are_named_by_their_namespaces_too():
    other = {**hpa(), "metadata": {"name": "dash", "namespace": "staging"}}
    found = conversions(a_list("List", hpa(), other), {"kind": "Deployment"}).found

    assert [each.policy.name for each in found] == ["dash-bokeh", "dash-staging"]
