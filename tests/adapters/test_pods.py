"""Pods and Deployments as the API server writes them, as our values."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.adapters.kubernetes import objects
from autoscaler.adapters.kubernetes.pods import (
    CORDONED_AT,
    OUR_COST,
    PAUSED,
    PROTECTED,
    ROUTABLE,
    label_selector,
    marks_patch,
    not_created,
    pod_state,
    replicas_writer,
    unix,
)
from autoscaler.adapters.kubernetes.pods import (
    DELETION_COST as COST,
)
from autoscaler.adapters.kubernetes.quantities import milli, resources
from autoscaler.model import PodMarks, Resources, TargetRef
from autoscaler.ports import TargetState


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


def test_the_zone_of_a_pod_is_known_where_kubernetes_tells_it() -> None:
    assert pod_state(a_pod()).zone == ""
    labels = {"topology.kubernetes.io/zone": "eu-west-1a"}
    assert pod_state({**a_pod(), "metadata": {**a_pod()["metadata"], "labels": labels}}).zone == (
        "eu-west-1a"
    )


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
            Resources(2000, None, None, (("", 1_024_000),)),
            id="the pod's own resources count first",
        ),
        pytest.param(
            {
                "containers": [container(limits={"memory": "2Ki"})],
                "initContainers": [
                    {**container(limits={"memory": "1Ki"}), "restartPolicy": "Always"},
                    container(limits={"memory": "9Ki"}),
                ],
            },
            Resources(None, None, 2_048_000, (("c", 2_048_000),)),
            id="a limit is the app's own, whatever is beside it",
        ),
        pytest.param(
            {"containers": [container(limits={"memory": "2Ki"}), container()]},
            Resources(None, None, None, (("c", 2_048_000),)),
            id="of two containers either may be the app's",
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


@pytest.mark.parametrize(("status", "expected"), [("True", 3), ("False", None), (None, None)])
def test_a_pod_has_its_node_since_it_was_scheduled(
    status: str | None, expected: float | None
) -> None:
    at = {"type": "PodScheduled", "status": status, "lastTransitionTime": "2026-01-01T00:00:03Z"}
    seen = pod_state(a_pod(conditions=[at] if status else []))

    created = unix("2026-01-01T00:00:00Z")
    assert created is not None
    assert seen.scheduled_at == (None if expected is None else created + expected)


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
    assert marks_patch(bare, PodMarks(routable=True, protected=True))["metadata"]["labels"] == {}
    assert marks_patch(bare, PodMarks(routable=False))["metadata"]["labels"] == {
        "bokeh-autoscaler/routable": "false"
    }


def test_the_label_is_left_alone_where_it_stays_as_it_is() -> None:
    item = a_pod()
    item["metadata"]["labels"] = {ROUTABLE: "true"}
    protected = marks_patch(pod_state(item), PodMarks(routable=True, protected=True))
    assert protected["metadata"]["labels"] == {}, "somebody may have cordoned the pod meanwhile"

    item["metadata"]["labels"] = {ROUTABLE: "false"}
    back = marks_patch(pod_state(item), PodMarks(routable=True))
    assert back["metadata"]["labels"] == {ROUTABLE: "true"}


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

    removed = marks_patch(seen, PodMarks(routable=True))["metadata"]["annotations"]
    assert {key for key in (COST, OUR_COST) if removed.get(key, "") is None} == (
        {COST, OUR_COST} if ours else {OUR_COST} if stray else set()
    ), "what is ours goes, what is not stays"


@pytest.mark.parametrize(
    ("manager", "value", "writer"),
    [
        pytest.param("kubectl-label", "false", "kubectl-label 2027-01-15T08:00:00Z", id="a hand"),
        pytest.param("bokeh-autoscaler", "false", "", id="us"),
        pytest.param("kubectl-label", "true", "", id="nobody, for it is not cordoned"),
    ],
)
def test_who_else_cordoned_a_pod(manager: str, value: str, writer: str) -> None:
    item = a_pod()
    fields = {"f:metadata": {"f:labels": {f"f:{ROUTABLE}": {}}}}
    wrote = {"manager": manager, "time": "2027-01-15T08:00:00Z", "fieldsV1": fields}
    item["metadata"] |= {"labels": {ROUTABLE: value}, "managedFields": [wrote]}
    assert pod_state(item).label_writer == writer


def test_who_gave_a_cordoned_pod_its_label_back() -> None:
    item = a_pod()
    fields = {"f:metadata": {"f:labels": {f"f:{ROUTABLE}": {}}}}
    wrote = {"manager": "helm", "time": "2027-01-15T08:00:00Z", "fieldsV1": fields}
    item["metadata"] |= {"labels": {ROUTABLE: "true"}, "managedFields": [wrote]}
    item["metadata"]["annotations"] = {CORDONED_AT: "2027-01-15T07:00:00Z"}
    assert pod_state(item).label_writer == "helm 2027-01-15T08:00:00Z"


@pytest.mark.parametrize(
    ("entries", "writer"),
    [
        pytest.param([("kubectl-client-side-apply", 8)], "kubectl-client-side-apply", id="one"),
        pytest.param([("bokeh-autoscaler", 9), ("argocd-controller", 8)], "", id="us, later"),
        pytest.param([("bokeh-autoscaler", 8), ("helm", 9)], "helm", id="another one, later"),
        pytest.param([], "", id="nobody knows"),
    ],
)
def test_who_else_wrote_the_replicas(entries: list[tuple[str, int]], writer: str) -> None:
    fields = {"f:spec": {"f:replicas": {}}}
    told = [
        {"manager": manager, "time": f"2027-01-15T0{hour}:00:00Z", "fieldsV1": fields}
        for manager, hour in entries
    ]
    other = {"manager": "kubectl-edit", "fieldsV1": {"f:spec": {"f:template": {}}}}
    assert replicas_writer({"metadata": {"managedFields": [other, *told]}}) == writer


def test_who_gave_the_replicas_up_by_a_server_side_apply() -> None:
    fields = {"f:spec": {"f:template": {}}}
    told = [
        {"manager": manager, "operation": operation, "time": f"{at}Z", "fieldsV1": fields}
        for manager, operation, at in [
            ("kubectl", "Apply", "2027-01-15T07:00:00"),
            ("argocd-controller", "Apply", "2027-01-15T08:00:00"),
            ("kube-controller-manager", "Update", "2027-01-15T09:00:00"),
        ]
    ]
    assert replicas_writer({"metadata": {"managedFields": told}}) == "argocd-controller"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        pytest.param("True", "exceeded quota: team", id="pods are refused"),
        pytest.param("False", "", id="they no longer are"),
        pytest.param(None, "", id="they never were"),
    ],
)
def test_why_no_further_pod_is_created(status: str | None, said: str) -> None:
    refused = {"type": "ReplicaFailure", "status": status, "message": "exceeded quota: team"}
    others = [{"type": "Available", "status": "True", "message": "enough"}]
    assert not_created({"conditions": [*others, *([refused] if status else [])]}) == said


@pytest.mark.parametrize(
    ("marks", "version"),
    [
        pytest.param(PodMarks(routable=False), "7", id="a cordon only of the pod that was read"),
        pytest.param(PodMarks(routable=True), None, id="an uncordon in any case"),
    ],
)
def test_what_is_refused_if_the_pod_has_changed(marks: PodMarks, version: str | None) -> None:
    item = a_pod()
    item["metadata"]["resourceVersion"] = "7"
    assert marks_patch(pod_state(item), marks)["metadata"].get("resourceVersion") == version


def test_protection_that_the_template_gives_is_not_ours_to_remove() -> None:
    item = a_pod()
    given = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    item["metadata"]["annotations"] = {**given, "karpenter.sh/do-not-disrupt": "true"}
    assert not pod_state(item).protected
    patch = marks_patch(pod_state(item), PodMarks(routable=True))
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
    found = joined({"generation": generation}, {}, status, sets)

    assert found.rollout_in_progress is expected


@pytest.mark.parametrize(
    ("messages", "cut"),
    [
        pytest.param([], None, id="no container has ended"),
        pytest.param(['{"bokeh-exporter": {"cut": 3}}'], 3, id="the launcher counted"),
        pytest.param(['{"bokeh-exporter": {"cut": 0}}\n'], 0, id="it ended nobody"),
        pytest.param([None, '{"bokeh-exporter": {"cut": 2}}'], 2, id="another has no message"),
        pytest.param(["Traceback (most recent call last):"], None, id="something else"),
        pytest.param(['a note\n{"bokeh-exporter": {"cut": 2}}\n'], 2, id="the app's line first"),
        pytest.param(['a note{"bokeh-exporter": {"cut": 2}}\n'], 2, id="a note without an end"),
        pytest.param(['{"bokeh-exporter": {"cut": 2}}\nbye\n'], 2, id="the app's line last"),
        pytest.param(['{"a": {\n{"bokeh-exporter": {"cut": 2}}'], 2, id="half an object first"),
        pytest.param(
            ['{"bokeh-exporter": {"cut": 5}}\n{"bokeh-exporter": {"cut": 1}}\n'],
            1,
            id="the last one counts",
        ),
        pytest.param(['{"bokeh-exporter": {"cut": true}}'], None, id="neither a count"),
        pytest.param(['{"bokeh-exporter": ' + "[" * 4000], None, id="ours, without an end"),
        pytest.param(['{"bokeh-exporter": {"cut": -1}}'], None, id="less than nobody"),
        pytest.param(['{"bokeh-exporter": {"cut": "3"}}'], None, id="a text"),
        pytest.param(['{"bokeh-exporter": {"cut": 1e306}}'], None, id="a number beyond sense"),
        pytest.param(['{"bokeh-exporter": 3}'], None, id="another shape"),
        pytest.param(["[" * 4000], None, id="brackets without an end"),
        pytest.param(["3"], None, id="a number alone"),
    ],
)
def test_the_launchers_termination_message_is_read_of_a_pod_that_is_being_deleted(
    messages: list[str | None], cut: int | None
) -> None:
    ended = [
        {"name": f"c{number}", "state": {"terminated": {"exitCode": 0, "message": message}}}
        for number, message in enumerate(messages)
    ]
    body: dict[str, Any] = {
        "metadata": {"name": "p", "uid": "u", "deletionTimestamp": "2027-01-15T08:00:00Z"},
        "status": {"phase": "Running", "containerStatuses": [*ended, {"name": "z", "state": {}}]},
    }

    assert pod_state(body).cut == cut
    del body["metadata"]["deletionTimestamp"]
    assert pod_state(body).cut is None


@pytest.mark.parametrize(("spec", "paused"), [({"paused": True}, True), ({}, False)])
def test_a_deployment_that_is_paused_is_known_as_such(spec: dict[str, Any], paused: bool) -> None:
    assert joined({}, spec, {}, []).paused is paused


def joined(
    meta: dict[str, Any], spec: dict[str, Any], status: dict[str, Any], sets: list[dict[str, Any]]
) -> TargetState:
    """A Deployment with ReplicaSets, as it is made of the JSON of lists."""
    ref, listed = TargetRef("bokeh", "bokeh-app"), objects.Objects.none()
    meta = {"namespace": ref.namespace, "name": ref.deployment, "uid": "d", **meta}
    spec = {"selector": {"matchLabels": {"app": "bokeh"}}, **spec}
    body = {"metadata": {**meta, "resourceVersion": "1"}, "spec": spec, "status": status}
    listed.deployments.replace([objects.deployment_item(body)], 1)
    owners = [{"kind": "Deployment", "uid": "d", "controller": True}]
    bodies = [
        {**each, "metadata": {"name": f"set-{n}", "uid": f"s{n}", "ownerReferences": owners}}
        for n, each in enumerate(sets)
    ]
    listed.replica_sets.replace(map(objects.replica_set_item, bodies), 1)
    found = objects.target(ref, listed)
    assert isinstance(found, TargetState)
    return found


@pytest.mark.parametrize(
    ("notes", "pause"),
    [
        pytest.param(None, None, id="no annotations"),
        pytest.param({}, None, id="other annotations only"),
        pytest.param({PAUSED: "true"}, "true", id="true"),
        pytest.param({PAUSED: "INC-7: no scaling"}, "INC-7: no scaling", id="a reason"),
        pytest.param({PAUSED: "maybe"}, "maybe", id="any word, for doubt pauses"),
        pytest.param({PAUSED: "False"}, "False", id="a word that is nearly false"),
        pytest.param({PAUSED: "false"}, None, id="false"),
        pytest.param({PAUSED: ""}, None, id="an empty text"),
        pytest.param({PAUSED: "a\nb"}, r"a\nb", id="two lines become one"),
        pytest.param({PAUSED: "a" * 400}, "a" * 299 + "…", id="a long text is cut off"),
    ],
)
def test_what_the_annotation_of_a_deployment_says_of_a_pause(
    notes: dict[str, str] | None, pause: str | None
) -> None:
    assert joined({"annotations": notes}, {}, {}, []).pause == pause
