"""The order in which a ReplicaSet removes pods, and when it is not determined."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from autoscaler.core.drain.deletion_order import deletion_order, first_to_go
from autoscaler.model import PodState
from tests.builders import NOW, pod
from tests.drain.victim_order import judge, predict

CASES = Path(__file__).parent / "data" / "victim_cases.yaml"
PLAIN = pod("plain", node="a")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"node": ""}, {"phase": "Pending"}, id="without a node before pending"),
        pytest.param({"phase": "Pending"}, {"ready": False}, id="pending before not Ready"),
        pytest.param({"ready": False}, {"deletion_cost": -5}, id="not Ready before a low cost"),
        pytest.param({"deletion_cost": -5}, {}, id="a low cost before none"),
        pytest.param({}, {"deletion_cost": 5}, id="none before a high cost"),
        pytest.param({"ready_since": NOW - 10}, {"restarts": 9}, id="young before restarted"),
        pytest.param({"restarts": 2}, {"sidecar_restarts": 9}, id="app restarts before sidecar's"),
        pytest.param({"sidecar_restarts": 2}, {}, id="a sidecar's restarts before none"),
        pytest.param({"created_at": NOW - 10}, {}, id="created late before created early"),
    ],
)
def test_each_rule_comes_before_the_next(
    first: dict[str, object], second: dict[str, object]
) -> None:
    # The first pod's uid is the higher one, so only the rule can put it in front.
    pods = [pod("b", **{"node": "a", **second}), pod("a", **{"node": "a", "uid": "z", **first})]
    assert [each.name for each in deletion_order(pods, NOW)] == ["a", "b"]


def test_a_pod_on_a_crowded_node_goes_first() -> None:
    pods = [pod("alone", node="a", uid="0"), pod("one", node="b"), pod("two", node="b")]
    assert first_to_go(pods, 1, NOW) is None
    assert first_to_go(pods, 2, NOW) == {"uid-one", "uid-two"}


def test_pods_of_an_older_replica_set_crowd_a_node_too() -> None:
    pods = [pod("one", node="a"), pod("other", node="b", uid="0")]
    old = pod("old", node="a", replica_set="old")
    assert first_to_go(pods, 1, NOW, related=[old]) == {"uid-one"}
    assert [each.name for each in deletion_order(pods, NOW, [old])] == ["one", "other"]


def test_a_shrink_of_two_replica_sets_is_not_determined() -> None:
    pods = [pod("new", node="a", deletion_cost=-5), pod("old", node="a", replica_set="old")]
    assert first_to_go(pods, 1, NOW) is None


def test_equal_pods_at_the_cut_are_not_determined() -> None:
    assert first_to_go([PLAIN, pod("other", node="a")], 1, NOW) is None


def test_pods_that_are_on_their_way_out_do_not_count() -> None:
    gone = [pod("a", deleting=True), pod("b", phase="Failed"), pod("c", phase="Succeeded")]
    assert deletion_order([*gone, PLAIN], NOW) == [PLAIN]


def test_an_age_about_to_pass_a_power_of_two_is_not_determined() -> None:
    # 2**36 ns are 68.7 s: at 65 s and at 60 s the uid decides, 4 s later the younger goes first.
    old, young = NOW - 65.0, NOW - 60.0
    pods = [pod("old", node="a", uid="1", ready_since=old), _young(young)]
    assert first_to_go(pods, 1, NOW, within=2.0) == {"1"}
    assert first_to_go(pods, 1, NOW, within=10.0) is None


def test_an_age_about_to_pass_several_powers_of_two_is_looked_at_after_each() -> None:
    # Ages in powers of two of ns: 2 s (30) and 8.6 s (33) now, 12 s (33) and 18.6 s (34) in 10 s,
    # so the younger goes first; but from 8.6 s and 15.2 s on (both 33) the uid decides for 2 s.
    pods = [
        pod("old", node="a", uid="1", ready_since=NOW - 8.6),
        pod("young", node="a", uid="2", ready_since=NOW - 2.0),
    ]
    assert first_to_go(pods, 1, NOW, within=2.0) == {"2"}
    assert first_to_go(pods, 1, NOW, within=10.0) is None


def _young(since: float) -> PodState:
    return pod("young", node="a", uid="2", ready_since=since)


def test_it_predicts_what_the_real_controller_deleted() -> None:
    wrong, passed, undetermined = judge(yaml.safe_load(CASES.read_text())["populations"])
    assert (wrong, passed, undetermined) == ([], 146, 4)


def test_the_command_prints_each_wrong_prediction_and_exits_1(tmp_path: Path) -> None:
    population = next(
        each
        for each in yaml.safe_load(CASES.read_text())["populations"]
        if len(each["deleted"]) < len(each["pods"]) and predict(each)
    )
    kept = [row["name"] for row in population["pods"] if row["name"] not in population["deleted"]]
    file = tmp_path / "populations.yaml"
    file.write_text(yaml.safe_dump({"populations": [population, {**population, "deleted": kept}]}))

    run = victim_order(file)

    assert run.returncode == 1
    wrong, last = run.stdout.splitlines()
    assert wrong.startswith(f"{population['id']}: expected {sorted(population['deleted'])}")
    assert last == "1 passed, 1 failed, 0 undetermined"


def test_the_command_says_what_it_cannot_read_and_exits_2(tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("pods: []")

    run = victim_order(file)

    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(f"{file}: no populations can be read")


def victim_order(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.drain.victim_order", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
