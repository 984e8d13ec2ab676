"""What of a pod is removed: all that the daemon wrote, and nothing that somebody else did."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.adapters.kubernetes.pods import (
    CORDONED_AT,
    CORDONED_FOR,
    DELETION_COST,
    OUR_COST,
    PROTECTED,
    ROUTABLE,
    marks_patch,
)
from autoscaler.adapters.kubernetes.removal import Trace, lease_trace, pod_trace
from autoscaler.model import Cause, Cordon, PodMarks
from tests.builders import NOW, pod

OURS, EVICTABLE, DISRUPTED = PROTECTED
CORDONED = {CORDONED_FOR: "full", CORDONED_AT: "2027-01-15T08:00:00Z"}


def body(notes: dict[str, str] | None, routable: str = "true") -> dict[str, Any]:
    labels = {"app": "bokeh-app", ROUTABLE: routable}
    return {
        "metadata": {"name": "a", "namespace": "bokeh", "uid": "u"}
        | {"annotations": notes, "labels": labels}
    }


@pytest.mark.parametrize(
    ("notes", "routable", "keys", "is_cordoned"),
    [
        pytest.param(CORDONED, "false", CORDONED, True, id="a pod that the daemon cordoned"),
        pytest.param(CORDONED, "true", CORDONED, False, id="a pod whose label was set back"),
        pytest.param(
            {**CORDONED, CORDONED_AT: "soon"}, "false", CORDONED, True, id="a time nobody can read"
        ),
        pytest.param(
            {OUR_COST: "-9", DELETION_COST: "-9"},
            "true",
            [OUR_COST, DELETION_COST],
            False,
            id="a deletion cost of ours",
        ),
        pytest.param(
            {OUR_COST: "-9", DELETION_COST: "7"},
            "true",
            [OUR_COST],
            False,
            id="a deletion cost that somebody else wrote over ours",
        ),
        pytest.param(PROTECTED, "true", PROTECTED, False, id="a protected pod"),
        pytest.param(
            {**PROTECTED, EVICTABLE: "true"},
            "true",
            [OURS, DISRUPTED],
            False,
            id="a protection that somebody else has changed",
        ),
        pytest.param(
            {"bokeh-autoscaler/of-a-version-to-come": "x", "other": "y"},
            "true",
            ["bokeh-autoscaler/of-a-version-to-come"],
            False,
            id="an annotation that this version does not know",
        ),
    ],
)
def test_what_the_daemon_wrote_is_removed(
    notes: dict[str, str], routable: str, keys: Any, is_cordoned: bool
) -> None:
    wanted = Trace("Pod", "bokeh", "a", "u", tuple(sorted(keys)), is_cordoned)

    assert pod_trace(body(notes, routable)) == wanted


@pytest.mark.parametrize(
    ("notes", "routable"),
    [
        pytest.param(None, "true", id="a pod without annotations"),
        pytest.param({}, "false", id="a pod that somebody else cordoned"),
        pytest.param({DELETION_COST: "7"}, "true", id="a deletion cost of somebody else"),
        pytest.param(
            {EVICTABLE: "false", DISRUPTED: "true"}, "true", id="a protection of the template"
        ),
    ],
)
def test_what_somebody_else_wrote_stays(notes: dict[str, str] | None, routable: str) -> None:
    assert pod_trace(body(notes, routable)) is None


def test_every_annotation_that_the_daemon_writes_is_removed() -> None:
    marks = PodMarks(False, Cordon(Cause.SCALE_DOWN, NOW), -9, protected=True)
    patch = marks_patch(pod(), marks)["metadata"]
    trace = pod_trace(body(patch["annotations"], patch["labels"][ROUTABLE]))

    assert trace is not None
    assert {*trace.keys} == {*patch["annotations"]}
    assert trace.is_cordoned


@pytest.mark.parametrize(
    ("trace", "words"),
    [
        (
            Trace("Pod", "bokeh", "a", "u", ("x", "y"), is_cordoned=True),
            "Pod bokeh/a: uncordon and remove x, y",
        ),
        (Trace("Pod", "bokeh", "a", "u", ("x",)), "Pod bokeh/a: remove x"),
        (lease_trace(body(None)), "Lease bokeh/a: delete it"),
    ],
)
def test_it_says_what_is_removed(trace: Trace, words: str) -> None:
    assert str(trace) == words
