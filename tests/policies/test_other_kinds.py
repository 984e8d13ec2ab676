"""A file that is no policy is told what it is, and how to say the same as a policy."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.adapters.policies.files import load_policy
from tests.policies.files import GOOD, edited, problems_of, table
from tests.policies.test_laws import LEAVES, assert_is_good_or_refused_in_lines

DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "dash"}
POLICY_WANTED = "expected a policy with name, target, replicas and metrics"
ONLY = "the target of a policy is a Deployment"


def hpa(version: str = "autoscaling/v2", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "dash", "namespace": "bokeh"},
        "spec": {"scaleTargetRef": DEPLOYMENT, "minReplicas": 2, "maxReplicas": 12, **spec},
    }


def resource(name: str, **target: Any) -> dict[str, Any]:
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def cpu(percent: int = 65) -> dict[str, Any]:
    return resource("cpu", type="Utilization", averageUtilization=percent)


def scaled(*triggers: Any, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "dash", "namespace": "bokeh"},
        "spec": {"scaleTargetRef": {"name": "dash"}, "triggers": list(triggers), **spec},
    }


def asked(query: str, threshold: str, **keys: Any) -> dict[str, Any]:
    return {"type": "prometheus", "metadata": {"query": query, "threshold": threshold}, **keys}


QUIET = {"scaleDown": {"stabilizationWindowSeconds": 60}}
CPU = [("cpu", 65.0)]
# What it is: the file, and of its policy the bounds, the metrics and whether it has a behavior.
CONVERTED = {
    "an HPA v2": (hpa(metrics=[cpu()]), (2, 12), CPU, False),
    "an HPA v2beta2": (hpa("autoscaling/v2beta2", metrics=[cpu()]), (2, 12), CPU, False),
    "an HPA v2beta1": (
        hpa(
            "autoscaling/v2beta1",
            metrics=[
                {"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 65}}
            ],
        ),
        (2, 12),
        CPU,
        False,
    ),
    "an HPA v1": (
        hpa("autoscaling/v1", targetCPUUtilizationPercentage=65),
        (2, 12),
        CPU,
        False,
    ),
    "an HPA that names no metric, for which 80 % of the CPU counts": (
        hpa(),
        (2, 12),
        [("cpu", 80.0)],
        False,
    ),
    "an HPA with a behavior": (hpa(metrics=[cpu()], behavior=QUIET), (2, 12), CPU, True),
    "an HPA that scales to zero": (hpa(metrics=[cpu()], minReplicas=0), (1, 12), CPU, False),
    "an HPA whose metrics a policy has no words for": (
        hpa(metrics=[resource("cpu", type="AverageValue", averageValue="500m")]),
        (2, 12),
        [("sessions", 20)],
        False,
    ),
    "a ScaledObject": (
        scaled(asked("sum(x)", "20"), minReplicaCount=0, maxReplicaCount=12),
        (1, 12),
        [("prometheus", 20.0)],
        False,
    ),
    "a ScaledObject that names no bounds": (
        scaled(asked('sum(x{a="b: #c"})', "2.5")),
        (1, 100),
        [("prometheus", 2.5)],
        False,
    ),
    "a ScaledObject with the CPU and a behavior": (
        scaled(
            {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "65"}},
            advanced={"horizontalPodAutoscalerConfig": {"behavior": QUIET}},
        ),
        (1, 100),
        CPU,
        True,
    ),
}


def told(write: Any, value: Any) -> list[str]:
    return problems_of(write(json.dumps(value)))


@pytest.mark.parametrize(("value", "bounds", "metrics", "behavior"), table(CONVERTED))
def test_an_autoscaler_of_others_is_written_as_a_policy(write, value, bounds, metrics, behavior):
    (problem,) = told(write, value)
    assert problem.startswith(f"1: kind: is a {value['kind']}, expected a policy, such as {{")
    (written,) = re.findall(r"such as (\{.*\}) \(", problem)

    policy = load_policy(write(written))

    assert (policy.name, str(policy.target.ref)) == ("dash", "bokeh/dash")
    assert (policy.replicas.min, policy.replicas.max) == bounds
    number = {"cpu": "utilization", "sessions": "seats", "prometheus": "per_replica"}
    assert [(each.type, getattr(each, number[each.type])) for each in policy.metrics] == metrics
    assert (policy.behavior is not None) == behavior


LEFT_OUT = {
    "memory, which others count of the requests": (
        hpa(metrics=[cpu(), resource("memory", type="Utilization", averageUtilization=80)]),
        "memory (HPA and KEDA count it in percent of the requests, a policy of the limits)",
    ),
    "a metric of the pods": (
        hpa(metrics=[cpu(), {"type": "Pods", "pods": {"metric": {"name": "sessions"}}}]),
        'Pods metric "sessions"',
    ),
    "an external metric of v2beta1": (
        hpa(metrics=[cpu(), {"type": "External", "external": {"metricName": "queue"}}]),
        'External metric "queue"',
    ),
    "a second cpu metric": (hpa(metrics=[cpu(), cpu(70)]), "a second cpu metric"),
    "a calendar": (
        scaled({"type": "cron", "metadata": {"start": "0 8 * * 1-5"}}),
        "cron (use schedule: {days, from, to, timezone, min})",
    ),
    "a trigger that only KEDA has": (
        scaled({"type": "kafka", "metadata": {}}),
        'trigger "kafka"',
    ),
    "a query that is none": (scaled(asked("", "20")), 'the query ""'),
}


@pytest.mark.parametrize(("value", "left_out"), table(LEFT_OUT))
def test_what_a_policy_has_no_words_for_is_named(write, value, left_out):
    (problem,) = told(write, value)
    assert f"(not converted: {left_out};" in problem


def test_a_behavior_that_is_wrong_is_left_out_and_said_to_be(write):
    (problem,) = told(write, hpa(metrics=[cpu()], behavior={"scaleDown": {"policies": "none"}}))
    assert "behavior" not in problem
    assert "values that are invalid in a policy are left out" in problem


def test_what_to_do_with_the_other_autoscaler_is_said(write):
    (problem,) = told(write, hpa())
    assert problem.endswith("delete the HorizontalPodAutoscaler when the policy is active)")


OTHERS = {
    "an HPA of a StatefulSet": (
        json.dumps(hpa(scaleTargetRef={"kind": "StatefulSet", "name": "dash"})),
        [f"1: kind: is a HorizontalPodAutoscaler of a StatefulSet, expected a policy; {ONLY}"],
    ),
    "a ConfigMap that holds a policy": (
        "kind: ConfigMap\ndata:\n  dash.yaml: |\n    "
        + GOOD.replace("\n", "\n    ").rstrip()
        + "\n  other: x\n",
        [
            (
                '3: data."dash.yaml": is a policy inside a ConfigMap,'
                " expected the policy alone in a file"
            )
        ],
    ),
    "a ConfigMap that holds something else": (
        "kind: ConfigMap\ndata: {a: b}\n",
        [f"1: kind: is a ConfigMap, {POLICY_WANTED}; {ONLY}"],
    ),
    "a Deployment": (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: dash}\n",
        [
            (
                f"2: kind: is a Deployment, {POLICY_WANTED};"
                " name it in the target, as in deployment: dash"
            )
        ],
    ),
    "a StatefulSet": (
        "kind: StatefulSet\n",
        [f"1: kind: is a StatefulSet, {POLICY_WANTED}; {ONLY}, so run the app as one"],
    ),
    "a Rollout of Argo": (
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\n",
        [f"2: kind: is a Rollout, {POLICY_WANTED}; {ONLY}, so run the app as one"],
    ),
    "an object of any kind": (
        "kind: Kustomization\n",
        [f"1: kind: is a Kustomization, {POLICY_WANTED}; {ONLY}"],
    ),
    "a List, object by object": (
        "kind: List\nitems:\n- kind: Rollout\n- kind: Kustomization\n",
        [
            f"3: items[0].kind: is a Rollout, {POLICY_WANTED}; {ONLY}, so run the app as one",
            f"4: items[1].kind: is a Kustomization, {POLICY_WANTED}; {ONLY}",
        ],
    ),
    "a list that names the kind of its objects itself": (
        "kind: RolloutList\nitems:\n- metadata: {name: a}\n",
        [f"3: items[0].kind: is a Rollout, {POLICY_WANTED}; {ONLY}, so run the app as one"],
    ),
    "a policy inside an object of another kind": (
        "kind: ScalingPolicy\nspec:\n  " + GOOD.replace("\n", "\n  ").rstrip() + "\n",
        ["2: spec: holds a policy, expected its keys at the top level of the file"],
    ),
    "an object before others": (
        "kind: Rollout\n---\nkind: Service\n",
        [f"1: kind: is a Rollout, {POLICY_WANTED}; {ONLY}, so run the app as one"],
    ),
    "an object that is larger than any policy": (
        f"kind: Deployment\nspec: [{'x, ' * 5_000}]\n",
        [f"1: kind: is a Deployment, {POLICY_WANTED}"],
    ),
    "values of our chart": (
        "policies:\n- name: dash\n",
        [
            (
                f"1: looks like the values of our Helm chart, {POLICY_WANTED},"
                " such as an entry of policies"
            )
        ],
    ),
    "values of another chart": (
        "replicaCount: 2\nimage: {tag: x}\nautoscaling: {enabled: true}\n",
        [f"1: looks like the values of a Helm chart, {POLICY_WANTED}"],
    ),
    "a template of Helm": (
        "# {{ a comment }}\n" + edited("dashboards", "{{ .Release.Name }}"),
        [
            (
                '2: "{{ .Release.Name }}" is a template, expected plain values;'
                " check the rendered text, such as that of `helm template`"
            )
        ],
    ),
    "a template of Helm that is no YAML": (
        "{{- if .Values.x }}\n" + GOOD + "{{- end }}\n",
        [
            (
                '1: "{{- if .Values.x }}" is a template, expected plain values;'
                " check the rendered text, such as that of `helm template`"
            )
        ],
    ),
}


@pytest.mark.parametrize(("text", "problems"), table(OTHERS))
def test_a_file_of_another_kind_is_told_what_it_is(write, text, problems):
    assert problems_of(write(text)) == problems


TARGETS = {
    "a Rollout in the words of an HPA": (
        "{namespace: bokeh, kind: Rollout, name: dash}",
        f"got a Rollout, expected deployment: dash ({ONLY})",
    ),
    "a StatefulSet": (
        "{namespace: bokeh, statefulSet: dash}",
        f"got a StatefulSet, expected deployment: dash ({ONLY})",
    ),
    "a Deployment in the words of an HPA": (
        "{namespace: bokeh, apiVersion: apps/v1, kind: Deployment, name: dash}",
        "expected deployment: dash instead of kind and name",
    ),
}


@pytest.mark.parametrize(("target", "problem"), table(TARGETS))
def test_a_target_in_the_words_of_others_is_told_in_one_line(write, target, problem):
    text = edited(
        "target:\n  namespace: bokeh\n  deployment: bokeh-app\n",
        f"target: {target}\n",
    )
    assert problems_of(write(text)) == [f"2: target: {problem}"]


WORDS_OF_OTHERS = st.sampled_from(
    [
        *("kind", "metadata", "name", "spec", "scaleTargetRef", "minReplicas", "maxReplicas"),
        *("metrics", "type", "resource", "behavior", "triggers", "items", "data", "target"),
        *("policies", "query", "threshold", "image", "replicaCount"),
    ]
)
KINDS = st.sampled_from(["HorizontalPodAutoscaler", "ScaledObject", "ConfigMap", "List", "Rollout"])
MESSES = st.recursive(
    LEAVES | KINDS | st.sampled_from(["Resource", "cpu", "prometheus", "8:00", "Deployment"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS_OF_OTHERS, inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, max_examples=60)
@given(KINDS, st.dictionaries(WORDS_OF_OTHERS, MESSES, max_size=5))
def test_no_object_raises_anything_else(kind, value):
    assert_is_good_or_refused_in_lines(json.dumps({**value, "kind": kind}).encode())
