"""Pods and Deployments as the API server writes them, as our values."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.adapters.kubernetes import rolling_out
from autoscaler.adapters.pods import (
    DELETION_COST as COST,
)
from autoscaler.adapters.pods import (
    OUR_COST,
    PROTECTED,
    label_selector,
    milli,
    note_patch,
    pod_state,
    resources,
    unix,
)
from autoscaler.model import PodNote, Resources


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ("1", 1000),
        ("500m", 500),
        ("0.1", 100),
        ("1.5", 1500),
        ("100u", 1),
        ("1n", 1),
        ("1k", 1_000_000),
        ("1Ki", 1_024_000),
        ("1Gi", 1_073_741_824_000),
        ("2e3", 2_000_000),
        ("0", 0),
    ],
)
def test_a_quantity_in_milli_units_rounded_up(quantity: str, expected: int) -> None:
    assert milli(quantity) == expected


@pytest.mark.parametrize("text", ["", "one", "Gi", "1GiB"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        milli(text)


def container(**amounts: Any) -> dict[str, Any]:
    return {"name": "c", "resources": amounts}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(
            {"containers": [container(requests={"cpu": "500m", "memory": "1Ki"})]},
            Resources(500, 1_024_000, None),
            id="one container without a limit",
        ),
        pytest.param(
            {"containers": [container(requests={"cpu": "1"}), container()]},
            Resources(None, None, None),
            id="one container without a request makes the sum unknown",
        ),
        pytest.param(
            {
                "containers": [container(requests={"cpu": "1"})],
                "initContainers": [
                    {**container(requests={"cpu": "100m"}), "restartPolicy": "Always"},
                    container(requests={"cpu": "9"}),
                ],
            },
            Resources(1100, None, None),
            id="native sidecars count, init containers that end do not",
        ),
        pytest.param(
            {
                "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "1Ki"}},
                "containers": [container(requests={"cpu": "1"}), container()],
            },
            Resources(2000, None, 1_024_000),
            id="the pod's own resources count first",
        ),
    ],
)
def test_what_a_pod_asks_for(spec: dict[str, Any], expected: Resources) -> None:
    assert resources(spec) == expected


def a_pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [container()]},
        "status": {"phase": "Running", **status},
    }


def test_readiness_is_unknown_until_the_condition_is_there() -> None:
    assert pod_state(a_pod()).ready is None
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:05Z"}
    seen = pod_state(a_pod(conditions=[ready], startTime="2026-01-01T00:00:01Z"))

    assert seen.ready is False
    assert seen.ready_since is not None
    assert seen.started_at is not None
    assert seen.ready_since - seen.started_at == 4
    assert seen.created_at == unix("2026-01-01T00:00:00Z")


def test_restarts_are_the_most_of_the_containers_and_of_the_native_sidecars() -> None:
    item = a_pod(
        containerStatuses=[
            {"name": "app", "restartCount": 2},
            {"name": "b", "restartCount": 1},
        ],
        initContainerStatuses=[
            {"name": "exporter", "restartCount": 3},
            {"name": "setup", "restartCount": 9},
        ],
    )
    item["spec"]["initContainers"] = [
        {"name": "exporter", "restartPolicy": "Always"},
        {"name": "setup"},
    ]

    assert (pod_state(item).restarts, pod_state(item).sidecar_restarts) == (2, 3)


@pytest.mark.parametrize(
    ("labels", "routable"),
    [
        (None, True),
        ({"bokeh-autoscaler/routable": "true"}, True),
        ({"bokeh-autoscaler/routable": "false"}, False),
    ],
)
def test_a_cordoned_pod_is_not_routable(labels: dict[str, str] | None, routable: bool) -> None:
    item = a_pod()
    item["metadata"]["labels"] = labels

    assert pod_state(item).routable is routable
    assert pod_state(item).labelled is (labels is not None)


def test_a_pod_without_the_label_gets_one_by_a_cordon_only() -> None:
    bare = pod_state(a_pod())
    assert note_patch(bare, PodNote(routable=True, protected=True))["metadata"]["labels"] == {}
    assert note_patch(bare, PodNote(routable=False))["metadata"]["labels"] == {
        "bokeh-autoscaler/routable": "false"
    }


WROTE = [
    {"manager": "kubectl", "fieldsV1": {"f:metadata": {"f:labels": {"f:app": {}}}}},
    {"manager": "karpenter", "fieldsV1": {"f:metadata": {"f:annotations": {f"f:{COST}": {}}}}},
]


@pytest.mark.parametrize(
    ("annotations", "ours", "stray", "writer"),
    [
        pytest.param({}, False, False, "", id="no cost"),
        pytest.param({COST: "-5", OUR_COST: "-5"}, True, False, "", id="ours"),
        pytest.param({COST: "-9"}, False, False, "karpenter", id="somebody else's"),
        pytest.param({COST: "-9", OUR_COST: "-5"}, False, True, "karpenter", id="written over"),
        pytest.param({OUR_COST: "-5"}, False, True, "", id="ours, removed by somebody"),
    ],
)
def test_whose_deletion_cost_it_is(
    annotations: dict[str, str], ours: bool, stray: bool, writer: str
) -> None:
    item = a_pod()
    item["metadata"] |= {"annotations": annotations, "managedFields": WROTE}

    seen = pod_state(item)
    assert (seen.cost_is_ours, seen.stray_mark, seen.cost_writer) == (ours, stray, writer)

    removed = note_patch(seen, PodNote(routable=True))["metadata"]["annotations"]
    assert {key for key in (COST, OUR_COST) if removed.get(key, "") is None} == (
        {COST, OUR_COST} if ours else {OUR_COST} if stray else set()
    ), "what is ours goes, what is not stays"


def test_protection_that_the_template_gives_is_not_ours_to_remove() -> None:
    item = a_pod()
    given = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    item["metadata"]["annotations"] = {**given, "karpenter.sh/do-not-disrupt": "true"}
    assert not pod_state(item).protected
    patch = note_patch(pod_state(item), PodNote(routable=True))
    assert not PROTECTED.keys() & patch["metadata"]["annotations"].keys()

    item["metadata"]["annotations"] = PROTECTED
    assert pod_state(item).protected


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param({"matchLabels": {"app": "a", "b": "c"}}, "app=a,b=c", id="labels"),
        pytest.param(
            {
                "matchLabels": {"app": "a"},
                "matchExpressions": [
                    {"key": "tier", "operator": "In", "values": ["api", "web"]},
                    {"key": "zone", "operator": "NotIn", "values": ["x"]},
                    {"key": "team", "operator": "Exists"},
                    {"key": "canary", "operator": "DoesNotExist"},
                ],
            },
            "app=a,tier in (api,web),zone notin (x),team,!canary",
            id="expressions",
        ),
        pytest.param({}, "", id="nothing, which selects everything"),
    ],
)
def test_a_selector_as_lists_are_asked_with_it(selector: dict[str, Any], expected: str) -> None:
    assert label_selector(selector) == expected


def a_set(replicas: int, existing: int) -> dict[str, Any]:
    return {"spec": {"replicas": replicas}, "status": {"replicas": existing}}


@pytest.mark.parametrize(
    ("generation", "status", "sets", "expected"),
    [
        (2, {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3}, [a_set(3, 3)], False),
        (2, {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3}, [a_set(6, 3)], False),
        (3, {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3}, [a_set(3, 3)], True),
        (2, {"observedGeneration": 2, "replicas": 4, "updatedReplicas": 1}, [a_set(3, 3)], True),
        (
            2,
            {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3},
            [a_set(3, 3), a_set(0, 1)],
            True,
        ),
        (
            2,
            {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3},
            [a_set(3, 3), a_set(0, 0)],
            False,
        ),
    ],
    ids=[
        "nothing moves",
        "a scale-up under way is no rollout",
        "a spec that nobody has seen yet",
        "pods of an older template",
        "an older ReplicaSet still has a pod",
        "an older ReplicaSet is only kept for its history",
    ],
)
def test_a_rollout_is_told_from_a_change_of_the_count(
    generation: int, status: dict[str, int], sets: list[dict[str, Any]], expected: bool
) -> None:
    deployment = {"metadata": {"generation": generation}, "status": status}

    assert rolling_out(deployment, sets) is expected
