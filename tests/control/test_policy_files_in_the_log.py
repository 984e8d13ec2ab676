"""What the log says of policy files and their directories, from the first pass to the last."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from autoscaler.control.pass_result import PassResult
from autoscaler.ports import PolicySet
from autoscaler.reporting.logs import LogRecorder
from tests.builders import policy

NO_FILE = "policies: has no policy file, expected files ending in .yaml or .yml"
WRONG = "policies/a.yaml:3: replicas.min: got 'two'"
EMPTY = PolicySet(problems={"policies": (NO_FILE,)}, empty=frozenset({"policies"}))
BROKEN = PolicySet(problems={"policies/a.yaml": (WRONG,)})
VALID = PolicySet((policy(),), files={"dashboards": "policies/a.yaml"})
KEPT = PolicySet((policy(),), BROKEN.problems, VALID.files)
UNREADABLE = PolicySet(problems={"policies": ("policies: cannot be read",)})


def edited(**settings: Any) -> PolicySet:
    """The policy of the file with other settings."""
    found = policy(**settings)
    return PolicySet((found,), files={found.name: "policies/a.yaml"})


WARNED = ("WARNING", NO_FILE)
LOADED = ("INFO", "policies/a.yaml: policy dashboards of bokeh/bokeh-app is loaded")
ENLARGED = ("INFO", "policies/a.yaml: policy dashboards has changed: replicas.max: 20 -> 12")
MOVED = (
    "INFO",
    "policies/a.yaml: policy dashboards has changed: target: bokeh/bokeh-app -> bokeh/bokeh-app-2",
)
REMOVED = ("INFO", "policies/a.yaml: policy dashboards is removed")
FILLED = ("INFO", "policy directory policies has files now")


@pytest.mark.parametrize(
    ("passes", "told"),
    [
        pytest.param([EMPTY, EMPTY], [WARNED], id="an empty directory is told once"),
        pytest.param([EMPTY, VALID], [WARNED, LOADED, FILLED], id="its first policy comes"),
        pytest.param(
            [EMPTY, BROKEN], [WARNED, FILLED, ("ERROR", WRONG)], id="its first file is wrong"
        ),
        pytest.param(
            [EMPTY, VALID, EMPTY],
            [WARNED, LOADED, FILLED, REMOVED, WARNED],
            id="all files are deleted",
        ),
        pytest.param([VALID, VALID], [LOADED], id="a policy is told once"),
        pytest.param(
            [VALID, edited(replicas={"min": 1, "max": 12})],
            [LOADED, ENLARGED],
            id="a setting is edited",
        ),
        pytest.param(
            [VALID, edited(target={"namespace": "bokeh", "deployment": "bokeh-app-2"})],
            [
                LOADED,
                MOVED,
            ],
            id="a target is edited",
        ),
        pytest.param(
            [VALID, edited(name="reports")],
            [
                LOADED,
                ("INFO", "policies/a.yaml: policy reports of bokeh/bokeh-app is loaded"),
                REMOVED,
            ],
            id="a name is edited",
        ),
        pytest.param(
            [VALID, KEPT, VALID],
            [LOADED, ("ERROR", WRONG), ("INFO", "policies/a.yaml: valid again and loaded")],
            id="a wrong edit is reverted",
        ),
        pytest.param(
            [EMPTY, UNREADABLE],
            [WARNED, ("ERROR", "policies: cannot be read")],
            id="the directory is deleted",
        ),
        pytest.param(
            [BROKEN, VALID],
            [("ERROR", WRONG), LOADED, ("INFO", "policies/a.yaml: valid again and loaded")],
            id="a wrong file is mended",
        ),
        pytest.param(
            [BROKEN, EMPTY],
            [("ERROR", WRONG), WARNED, ("INFO", "policies/a.yaml: the problem is gone")],
            id="a wrong file is deleted",
        ),
    ],
)
def test_the_log_tells_what_changes(
    passes: list[PolicySet], told: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    recorder = LogRecorder()
    with caplog.at_level(logging.INFO):
        for at, policies in enumerate(passes):
            recorder.record(PassResult(float(at), (), policies))

    assert [(each.levelname, each.getMessage()) for each in caplog.records] == told
