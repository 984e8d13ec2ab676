"""What is said of all that a policy cannot express, and of manifests that are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.errors import PolicyError
from tests.policies.files import table
from tests.policies.manifests import (
    DEPLOYMENT,
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


def notes(manifest: Any, seats: int | None = 20) -> list[str]:
    """What is said, without file and line."""
    return [note.split(": ", 1)[1] for note in converted(manifest, seats).notes]


CONTAINER = {"name": "cpu", "container": "app", "target": {"averageUtilization": 65}}
PROMETHEUS = {
    "type": "prometheus",
    "authenticationRef": {"name": "token"},
    "metadata": {
        "query": "sum(x)",
        "threshold": "8",
        "serverAddress": "http://prometheus:9090",
        "activationThreshold": "2",
        "ignoreNullValues": "true",
        "cortexOrgID": "a",
    },
}
ZERO = "decides only about 0 replicas, which a policy never has, and is left out"
GONE = "has no equivalent in a policy and is left out"
THERE = "is left out: the daemon asks the Prometheus of its own --prometheus-url"
FROM_ADAPTER = "an adapter in the cluster answers for this metric"
KEPT = {"minReplicaCount": 1}


def said(manifest: Any, *expected: str) -> tuple[Any, list[str]]:
    return manifest, [*expected]


NOTES = {
    "what a policy says just so": said(hpa(metrics=[cpu()], behavior=QUIET)),
    "memory, which others count of the requests": said(
        hpa(metrics=[resource("memory", averageUtilization=80)]),
        "spec.metrics[0]: HPA and KEDA count memory in percent of the requests, a policy in",
    ),
    "the CPU of one container": said(
        hpa(metrics=[{"type": "ContainerResource", "containerResource": CONTAINER}]),
        'spec.metrics[0]: it counts only the container "app", a policy all containers of the pod',
    ),
    "an amount": said(
        hpa(metrics=[resource("cpu", averageValue="500m")]),
        'spec.metrics[0]: "cpu" without a percentage: the query asks the exporters',
    ),
    "a metric of an adapter": said(
        hpa(metrics=[cpu(), pods("load", "7")]),
        f"spec.metrics[1]: {FROM_ADAPTER}",
    ),
    "a label that PromQL cannot name": said(
        hpa(metrics=[external("q", {"matchLabels": {"5xx": "a"}}, value="30")]),
        'spec.metrics[0]: the label "5xx", which PromQL cannot name, is left out; an adapter',
    ),
    "another resource": said(
        hpa(metrics=[resource("nvidia.com/gpu", averageUtilization=80)]),
        f'spec.metrics[0]: the resource "nvidia.com/gpu", which nobody measures {GONE}',
    ),
    "a second cpu metric": said(
        hpa(metrics=[cpu(), cpu(70)]), f"spec.metrics[1]: a second cpu metric {GONE}"
    ),
    "an entry that is no metric": said(
        hpa(metrics=[cpu(), "cpu"]), f"spec.metrics[1]: None metric nothing {GONE}"
    ),
    "an unknown key of an HPA": said(
        hpa(metrics=[cpu()], tolerance="10m"), f"spec.tolerance: {GONE}"
    ),
    "an HPA that scales to zero": said(
        hpa(metrics=[cpu()], minReplicas=0), "spec.minReplicas: scaling to 0 replicas has no"
    ),
    "no namespace": said(
        {**hpa(metrics=[cpu()]), "metadata": {"name": "dash"}},
        "metadata.namespace: is missing: default is written",
    ),
    "an HPA that was read as version 1": said(
        {
            **hpa("autoscaling/v1", targetCPUUtilizationPercentage=65),
            "metadata": {
                **hpa()["metadata"],
                "annotations": {"autoscaling.alpha.kubernetes.io/metrics": "[]", "a": "b"},
            },
        },
        'metadata.annotations."autoscaling.alpha.kubernetes.io/metrics": is left out: convert what',
    ),
    "all that is about no replicas in KEDA": said(
        scaled(
            asked("sum(x)", "8"),
            cooldownPeriod=60,
            initialCooldownPeriod=60,
            idleReplicaCount=0,
            pollingInterval=10,
        ),
        "spec.minReplicaCount: scaling to 0 replicas has no equivalent",
        f"spec.cooldownPeriod: {ZERO}",
        f"spec.initialCooldownPeriod: {ZERO}",
        f"spec.idleReplicaCount: {ZERO}; the minimum applies",
        "spec.pollingInterval: applies only to 0 replicas and to `fallback`, and is left out",
    ),
    "how KEDA asks Prometheus": said(
        scaled(PROMETHEUS, **KEPT),
        f"spec.triggers[0].authenticationRef: {THERE}",
        f"spec.triggers[0].metadata.serverAddress: {THERE}",
        f"spec.triggers[0].metadata.activationThreshold: {ZERO}",
        "spec.triggers[0].metadata.ignoreNullValues: is left out: a query without an answer is",
        f"spec.triggers[0].metadata.cortexOrgID: {GONE}",
    ),
    "a trigger that only KEDA has": said(
        scaled({"type": "kafka", "metadata": {}}, **KEPT),
        f'spec.triggers[0]: trigger "kafka" {GONE}',
    ),
    "a query that is none": said(
        scaled(asked("", "20"), **KEPT), f"spec.triggers[0]: a trigger without a query {GONE}"
    ),
    "a threshold that is no number": said(
        scaled(asked("sum(x)", "a lot"), **KEPT),
        'spec.triggers[0]: the query "sum(x)" with a threshold that is no number above 0 ("a lot") '
        f"{GONE}",
    ),
    "a threshold of 0": said(
        scaled(asked("sum(x)", "0"), **KEPT),
        'spec.triggers[0]: the query "sum(x)" with a threshold that is no number above 0 ("0")',
    ),
    "no threshold": said(
        scaled({"type": "prometheus", "metadata": {"query": "sum(x)"}}, **KEPT),
        f'spec.triggers[0]: the query "sum(x)" without a threshold {GONE}',
    ),
    "a percentage in quotes": said(
        hpa(metrics=[resource("cpu", averageUtilization="80")]),
        'spec.metrics[0]: "cpu" with a percentage that is no whole number from 1 to 1000 ("80") '
        f"{GONE}",
    ),
    "a calendar over several days": said(
        scaled(cron(start="0 8 * * 1", end="0 18 * * 5"), **KEPT),
        "spec.triggers[0]: a cron trigger that does not open and close daily is left out",
    ),
    "a calendar within the minimum": said(
        scaled(asked("sum(x)", "8"), cron(replicas="2"), minReplicaCount=2),
        "spec.triggers[1]: a cron trigger within minReplicaCount (2) is left out",
    ),
    "a calendar above the maximum": said(
        scaled(asked("sum(x)", "8"), cron(replicas="40"), maxReplicaCount=30, **KEPT),
        "spec.triggers[1]: the part above maxReplicaCount (30) of a cron trigger for 40 replicas "
        "is left out",
    ),
    "an HPA without a metric": said(
        hpa(), "spec.metrics: no metric is set, for which Kubernetes takes 80 % of the requested"
    ),
    "an HPA of version 1 with a metric": said(
        hpa("autoscaling/v1", targetCPUUtilizationPercentage=80)
    ),
    "a formula": said(
        scaled(asked("sum(x)", "8"), advanced={"scalingModifiers": {"formula": "a + b"}}, **KEPT),
        "spec.advanced.scalingModifiers: the formula over several triggers has no equivalent",
    ),
    "a deletion that would change the replicas": said(
        scaled(asked("sum(x)", "8"), advanced={"restoreToOriginalReplicaCount": True}, **KEPT),
        "spec.advanced.restoreToOriginalReplicaCount: KEDA would set the replicas to those from",
    ),
    "a deletion that keeps the replicas": said(
        scaled(asked("sum(x)", "8"), advanced={"restoreToOriginalReplicaCount": False}, **KEPT)
    ),
    "a pause": said(
        annotated(scaled(asked("sum(x)", "8"), **KEPT), paused="true"),
        'metadata.annotations."autoscaling.keda.sh/paused": the policy is paused too: remove',
    ),
    "a pause at a number": said(
        annotated(scaled(asked("sum(x)", "8"), **KEPT), paused_replicas="4"),
        'metadata.annotations."autoscaling.keda.sh/paused-replicas": the policy is paused too and',
    ),
    "a pause in one direction": said(
        annotated(scaled(asked("sum(x)", "8"), **KEPT), paused_scale_in="true"),
        'metadata.annotations."autoscaling.keda.sh/paused-scale-in": has no equivalent in a policy '
        "and is left out: set behavior.scaleDown.selectPolicy to Disabled",
    ),
    "no pause": said(annotated(scaled(asked("sum(x)", "8"), **KEPT), paused="false")),
    "a fallback that may lower the replicas": said(
        scaled(asked("sum(x)", "8"), fallback={"failureThreshold": 3, "replicas": 5}, **KEPT),
        "spec.fallback.behavior: never lowers the replicas here, as KEDA's `static` does",
    ),
    "a fallback above the maximum": said(
        scaled(
            asked("sum(x)", "8"),
            maxReplicaCount=4,
            fallback={"replicas": 5, "behavior": "currentReplicasIfHigher"},
            **KEPT,
        ),
        "spec.fallback.replicas: 5 is above maxReplicaCount",
    ),
    "a fallback that keeps the replicas, as without one": said(
        scaled(asked("sum(x)", "8"), fallback={"behavior": "currentReplicas"}, **KEPT)
    ),
    "a fallback that only lowers the replicas": said(
        scaled(asked("sum(x)", "8"), fallback={"behavior": "currentReplicasIfLower"}, **KEPT),
        f'spec.fallback.behavior: "currentReplicasIfLower" {GONE}',
    ),
}


@pytest.mark.parametrize(("manifest", "expected"), table(NOTES))
def test_what_has_no_equivalent_is_one_line_with_its_path(manifest, expected):
    found = notes(manifest)

    assert len(found) == len(expected), found
    assert [told[: len(begin)] for told, begin in zip(found, expected, strict=True)] == expected


def test_a_note_names_the_line_in_the_file():
    manifest = """\
kind: List
items:
- kind: HorizontalPodAutoscaler
  metadata: {name: dash, namespace: bokeh}
  spec:
    scaleTargetRef: {kind: Deployment, name: dash}
    maxReplicas: 9
    metrics:
    - {type: Resource, resource: {name: cpu, target: {averageUtilization: 65}}}
    - {type: External, external: {metric: {name: queue}, target: {value: "30"}}}
"""
    [note] = converted(manifest, seats=20).notes
    assert note.startswith(f"hpa.yaml:10: items[0].spec.metrics[1]: {FROM_ADAPTER}")


def test_without_seats_the_option_is_named():
    [note] = notes(hpa(metrics=[cpu()]), seats=None)
    assert note.startswith("spec.metrics: it scales by no sessions: set --seats N, ")


OWNED = {
    "metadata": {
        "name": "keda-hpa-dash",
        "namespace": "bokeh",
        "ownerReferences": [{"kind": "ScaledObject", "name": "dash"}],
    }
}
SKIPPED = {
    "an HPA that KEDA made": (
        {**hpa(), **OWNED},
        "KEDA makes this HPA of the ScaledObject dash: convert that in its place",
    ),
    "an HPA without a target": (
        hpa(scaleTargetRef=None),
        "its scaleTargetRef has no kind, and the target of a policy is a Deployment",
    ),
    "an HPA of a StatefulSet": (
        hpa(scaleTargetRef={**DEPLOYMENT, "kind": "StatefulSet"}),
        "it scales a StatefulSet, and the target of a policy is a Deployment",
    ),
}


@pytest.mark.parametrize(("manifest", "why"), table(SKIPPED))
def test_what_no_policy_can_scale_is_skipped_and_said_so(manifest, why):
    found = conversions(a_list("List", manifest, hpa()), seats=20)

    assert [each.policy.name for each in found.found] == ["dash"]
    assert found.skipped == (f"hpa.yaml:1: items[0].kind: {why}",)


OTHERS = {
    "HTTP requests": ("HTTPScaledObject", "it scales by HTTP requests"),
    "Jobs": ("ScaledJob", "it starts Jobs, and the target of a policy is a Deployment"),
    "requests of pods": ("VerticalPodAutoscaler", "it sets requests and no replicas"),
}


@pytest.mark.parametrize(("kind", "why"), table(OTHERS))
def test_what_scales_in_another_way_is_named_beside_an_hpa(kind, why):
    other = {"kind": kind, "metadata": {"name": "web"}}
    found = conversions(hpa(), {"kind": "Service"}, other, seats=20)

    assert [each.policy.name for each in found.found] == ["dash"]
    [told] = found.skipped
    assert told.startswith(f"hpa.yaml:5: kind: {kind} web: not converted, {why}")


WRONG = {
    "a minimum above the maximum": (
        hpa(maxReplicas=1),
        "hpa.yaml:1: spec.minReplicas: min (2) is above max (1): expected min <= max",
    ),
    "no maximum": (hpa(maxReplicas=None), "hpa.yaml:1: spec.maxReplicas: got nothing, expected"),
    "an unknown rule": (
        hpa(behavior={"scaleUp": {"selectPolicy": "Most"}}),
        'hpa.yaml:1: spec.behavior.scaleUp.selectPolicy: got "Most", expected',
    ),
    "no target": (
        hpa(scaleTargetRef={"kind": "Deployment"}),
        "hpa.yaml:1: spec.scaleTargetRef.name: got nothing, expected",
    ),
    "a minimum of a ScaledObject that is none": (
        scaled(asked("sum(x)", "8"), minReplicaCount="2"),
        'hpa.yaml:1: spec.minReplicaCount: got "2", expected a whole number',
    ),
    "a rule of a ScaledObject that is none": (
        scaled(
            asked("sum(x)", "8"),
            advanced={"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": 1}}},
        ),
        "hpa.yaml:1: spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleUp: got 1, expected",
    ),
    "a timezone that is none": (
        scaled(
            asked("sum(x)", "8"),
            {**cron(), "metadata": {**cron()["metadata"], "timezone": "Mars"}},
        ),
        "hpa.yaml:1: spec.triggers[1].metadata.timezone: ",
    ),
    "a query that is too long": (
        scaled({"type": "kafka"}, asked("x" * 100_000, "8")),
        "hpa.yaml:1: spec.triggers[1]: ",
    ),
    "a fallback that is none": (
        scaled(asked("sum(x)", "8"), fallback={"replicas": "3"}),
        'hpa.yaml:1: spec.fallback.replicas: got "3", expected a whole number',
    ),
    "an item of a list": (
        a_list("List", {"kind": "Service"}, hpa(maxReplicas=None)),
        "hpa.yaml:1: items[1].spec.maxReplicas: got nothing, expected",
    ),
    "a namespace that is none": (
        {**hpa(), "metadata": {"name": "dash", "namespace": "Bokeh!"}},
        'hpa.yaml:1: metadata.namespace: got "Bokeh!", expected',
    ),
    "a template of Helm": (
        "kind: HorizontalPodAutoscaler\n{{- if .Values.hpa }}\nspec: {}\n{{- end }}\n",
        'hpa.yaml:2: "{{- if .Values.hpa }}" is a template, expected plain values',
    ),
    "a time without quotes": (
        "kind: HorizontalPodAutoscaler\nspec: {minReplicas: 8:00}\n"
        "metadata: {name: dash}\n".replace(
            "minReplicas", "scaleTargetRef: {kind: Deployment}, minReplicas"
        ),
        "hpa.yaml:2: spec.minReplicas: 8:00 without quotes is a number in base 60",
    ),
}


@pytest.mark.parametrize(("manifest", "told"), table(WRONG))
def test_a_wrong_manifest_is_one_line(manifest, told):
    with pytest.raises(PolicyError) as error:
        converted(manifest, seats=20)

    [line] = str(error.value).split("\n")
    assert line.startswith(told)


def test_without_any_metric_seats_are_needed():
    with pytest.raises(PolicyError) as error:
        converted(scaled({"type": "kafka", "metadata": {}}))

    *_, last = str(error.value).split("\n")
    assert last == "hpa.yaml: no metric is left: set --seats N"
