"""`autoscaler replay`: the share of decisions that the code makes again, and what differs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.cli import main
from autoscaler.model import Cause, Cordon, Decision, DrainPlan, PodMarks
from autoscaler.simulation.replay import differences
from tests.builders import NOW, pods
from tests.replay.recorded import SPARE, a_journal

FIRST = "2027-01-15T08:00:05.000+00:00"
Said = tuple[int, str, str]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return a_journal(tmp_path)


@pytest.fixture
def replay(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*words: object) -> Said:
        code = main(["replay", *map(str, words)])
        return code, *capsys.readouterr()

    return run


def edited(journal: Path, number: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Somebody changes a line of the journal."""
    lines = journal.read_text().splitlines()
    line = json.loads(lines[number])
    change(line)
    lines[number] = json.dumps(line)
    journal.write_text("\n".join([*lines, ""]))


def policy_file(folder: Path, **overrides: Any) -> Path:
    policy = {
        "name": "dashboards",
        "target": {"namespace": "bokeh", "deployment": "bokeh-app"},
        "replicas": {"min": 1, "max": 20},
        "metrics": SPARE,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
    }
    file = folder / "policy.yaml"
    file.write_text(yaml.safe_dump({**policy, **overrides}))
    return file


def test_a_compressed_journal_is_replayed_as_it_is(
    journal: Path, replay: Callable[..., Said], tmp_path: Path
) -> None:
    packed = tmp_path / "journal.jsonl.gz"
    packed.write_bytes(gzip.compress(journal.read_bytes()))

    assert replay(packed) == replay(journal)


def test_all_is_reproduced_by_the_code_that_decided(
    journal: Path, replay: Callable[..., Said]
) -> None:
    code, out, err = replay(journal)

    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"33 decisions of 1 policy from {FIRST} to 2027-01-15T08:02:45.000+00:00",
        "100.00 % reproduced: 33 of 33",
    ]


def test_what_differs_is_told_in_words(journal: Path, replay: Callable[..., Said]) -> None:
    def lie(line: dict[str, Any]) -> None:
        line["decision"]["desired"] = 5
        line["decision"]["steps"][0][1] = 5

    edited(journal, 0, lie)
    code, out, _ = replay(journal)

    assert code == 1
    _, share, where, *parts = out.splitlines()
    assert share == "96.96 % reproduced: 32 of 33"
    assert where == f"dashboards at {FIRST}"
    step = "MetricAboveTarget {} (sessions: (22 connected + 10 spare) / 10 seats)"
    assert parts == [
        f"  step 1: recorded {step.format(5)}, replayed {step.format(4)}",
        "  desired: recorded 5, replayed 4",
    ]


def test_what_differs_of_pods_is_told_by_name() -> None:
    one, other = pods(0, 0)
    cordon = PodMarks(False, Cordon(Cause.SCALE_DOWN, NOW))
    recorded = Decision(2, 1, drain=DrainPlan(1, ((one, cordon),), (one,), idle="waits"))
    replayed = Decision(2, 1, drain=DrainPlan(1, ((one, PodMarks(True, cost=-5, protected=True)),)))

    before = "cordoned (scale-down), no deletion cost, not protected from eviction"
    now = "routable, deletion cost -5, protected from eviction"
    assert [*differences(recorded, replayed)] == [
        f"pod pod-0: recorded {before}, replayed {now}",
        "deleted pods: recorded pod-0, replayed nothing",
        "drain, idle: recorded waits, replayed ",
    ]
    later = Decision(2, 1, drain=DrainPlan(0, ((other, cordon),)))
    told = [*differences(Decision(2, 1), later)]
    assert told == [f"pod pod-1: recorded nothing, replayed {before}"]


def test_a_state_that_differs_changes_what_rests_on_it(
    journal: Path, replay: Callable[..., Said]
) -> None:
    edited(journal, 3, lambda line: line.update(before={"last_scale_up": 1.0}))

    code, out, _ = replay(journal, "--json")
    told = json.loads(out)

    assert code == 1
    assert told["share"] < 1
    assert told["differing"][0]["differences"]


def test_machines_get_the_same_as_json(journal: Path, replay: Callable[..., Said]) -> None:
    code, out, _ = replay(journal, "--json")

    told = json.loads(out)
    assert code == 0
    assert (told["decisions"], told["reproduced"], told["share"]) == (33, 33, 1.0)
    assert (told["policies"], told["differing"], told["problems"]) == (["dashboards"], [], [])


@pytest.mark.parametrize(
    ("overrides", "differ"),
    [({}, 0), ({"replicas": {"min": 4, "max": 20}}, 25), ({"replicas": {"min": 1, "max": 3}}, 1)],
    ids=["the same policy", "a higher minimum", "a lower maximum"],
)
def test_an_edited_policy_is_tried_on_what_was_seen(
    journal: Path, tmp_path: Path, replay: Callable[..., Said], overrides: Any, differ: int
) -> None:
    code, out, _ = replay(journal, "--policy", policy_file(tmp_path, **overrides))

    assert code == 0
    assert out.splitlines()[1] == f"{differ} of them would have another number of replicas"


def test_a_policy_that_learns_its_seats_has_the_recorded_ones(
    journal: Path, tmp_path: Path, replay: Callable[..., Said]
) -> None:
    own = json.loads(journal.read_text().splitlines()[0])["policy"]["metrics"][0]
    learn = {"first": 1, "min": 1, "max": 40}
    learns = {**own, "seats": "auto", "learn": learn}

    _, out, _ = replay(journal, "--policy", policy_file(tmp_path, metrics=[learns]))

    assert out.splitlines()[1] == "0 of them would have another number of replicas"


def test_an_edit_says_what_it_would_have_decided(
    journal: Path, tmp_path: Path, replay: Callable[..., Said]
) -> None:
    file = policy_file(tmp_path, replicas={"min": 1, "max": 3})
    _, out, _ = replay(journal, "--policy", file)

    recorded = "recorded 4 (MetricAboveTarget: sessions: (22 connected + 10 spare) / 10 seats)"
    now = "now 3 (TooManyReplicas: 4 replicas wanted, the maximum is 3)"
    assert out.splitlines()[2:4] == [f"dashboards at {FIRST}", f"  {recorded}, {now}"]


def test_a_policy_of_another_name_and_a_wrong_one_are_wrong_input(
    journal: Path, tmp_path: Path, replay: Callable[..., Said]
) -> None:
    code, _, err = replay(journal, "--policy", policy_file(tmp_path, name="other"))
    assert (code, err) == (
        2,
        "autoscaler replay: no decision of a policy named other could be read\n",
    )

    code, _, err = replay(journal, "--policy", policy_file(tmp_path, name=1))
    assert code == 2
    assert "policy.yaml:" in err


def test_a_line_of_a_newer_version_is_told_and_the_others_are_replayed(
    journal: Path, replay: Callable[..., Said]
) -> None:
    edited(journal, 32, lambda line: line.update(v=2))

    code, out, err = replay(journal)

    assert code == 0
    assert "32 of 32" in out
    told = "the format version is 2, expected 1; read it with the version of autoscaler that"
    assert err == f"{journal}:33: {told} wrote it\n"


def test_a_file_that_is_no_journal_is_wrong_input(
    tmp_path: Path, replay: Callable[..., Said]
) -> None:
    file = tmp_path / "empty"
    file.write_text("")

    assert replay(file) == (2, "", "autoscaler replay: no decision could be read\n")
