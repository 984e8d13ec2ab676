"""What the log says of policy files and their directories, from the first pass to the last."""

from __future__ import annotations

import logging

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
UNREADABLE = PolicySet(problems={"policies": ("policies: cannot be read",)})
WARNED = ("WARNING", NO_FILE)
FILLED = ("INFO", "policy directory policies has files now")


@pytest.mark.parametrize(
    ("passes", "told"),
    [
        pytest.param([EMPTY, EMPTY], [WARNED], id="an empty directory is told once"),
        pytest.param([EMPTY, VALID], [WARNED, FILLED], id="its first policy comes"),
        pytest.param(
            [EMPTY, BROKEN], [WARNED, FILLED, ("ERROR", WRONG)], id="its first file is wrong"
        ),
        pytest.param([EMPTY, VALID, EMPTY], [WARNED, FILLED, WARNED], id="all files are deleted"),
        pytest.param(
            [EMPTY, UNREADABLE],
            [WARNED, ("ERROR", "policies: cannot be read")],
            id="the directory is deleted",
        ),
        pytest.param(
            [BROKEN, VALID],
            [("ERROR", WRONG), ("INFO", "policies/a.yaml: valid again and loaded")],
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
