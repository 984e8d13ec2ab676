"""A file that is no policy is told what it is, and how to say the same as a policy."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policies.files import GOOD, edited, problems_of, table
from tests.policies.manifests import hpa, scaled
from tests.policies.test_laws import LEAVES, assert_is_good_or_refused_in_lines

POLICY_WANTED = "expected a policy with name, target, replicas and metrics"
ONLY = "the target of a policy is a Deployment"


MAKES_ONE = "expected a policy; `autoscaler convert` writes one for it"
OTHERS = {
    "an HPA": (json.dumps(hpa()), [f"1: kind: is a HorizontalPodAutoscaler, {MAKES_ONE}"]),
    "a ScaledObject": (json.dumps(scaled()), [f"1: kind: is a ScaledObject, {MAKES_ONE}"]),
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
        "kind: BokehApp\nspec:\n  " + GOOD.replace("\n", "\n  ").rstrip() + "\n",
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
    "a file of kustomize without its kind": (
        "namespace: bokeh\nresources: [app.yaml]\nimages: [{name: app, newTag: x}]\n",
        [f"1: looks like a file of kustomize, {POLICY_WANTED}"],
    ),
    "a part of a file of kustomize": (
        "configMapGenerator: [{name: policies, files: [a.yaml]}]\n",
        [f"1: looks like a file of kustomize, {POLICY_WANTED}"],
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
