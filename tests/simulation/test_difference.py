"""What an edit of a policy changes: its settings, and its decisions on the same trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoscaler.cli import main
from autoscaler.policy.difference import Setting, settings
from autoscaler.simulation.difference import Difference, Moment, decisions
from autoscaler.simulation.timeline import Change, Steps, Timeline
from tests.builders import policy
from tests.simulation.test_simulate_command import RULES
from tests.simulation.traces import some_days

OFFICE = {"from": "08:00", "to": "18:00"}
SEATS = [{"type": "sessions", "seats": 10, "spare": 5}]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param({}, {}, [], id="nothing"),
        pytest.param({"name": "a"}, {"name": "b"}, [], id="the name, which decides nothing"),
        pytest.param(
            {"replicas": {"min": 1, "max": 9}},
            {"replicas": {"min": 2, "max": 9}},
            [Setting("replicas.min", 1, 2)],
            id="a bound",
        ),
        pytest.param(
            {"metrics": SEATS},
            {"metrics": [{**SEATS[0], "spare": "25%"}]},
            [Setting("metrics[0].spare", 5, "25%")],
            id="spare seats, as they are written",
        ),
        pytest.param(
            {"metrics": SEATS},
            {"metrics": [*SEATS, {"type": "prometheus", "query": "x", "value": 3}]},
            [
                Setting("metrics[1].type", None, "prometheus"),
                Setting("metrics[1].query", None, "x"),
                Setting("metrics[1].value", None, 3.0),
            ],
            id="one more metric",
        ),
        pytest.param(
            {"schedule": [{**OFFICE, "spare": {"refuse": "1%"}, "drain": {"deadline": "1h"}}]},
            {"schedule": [{**OFFICE, "spare": 30, "placement": "spread"}]},
            [
                Setting("schedule[0].spare.refuse", "1%", None),
                Setting("schedule[0].spare.leadTime", "1m", None),
                Setting("schedule[0].spare.forecast", "weekly", None),
                Setting("schedule[0].drain.deadline", "1h", None),
                Setting("schedule[0].spare", None, 30),
                Setting("schedule[0].placement", None, "spread"),
            ],
            id="what a window sets besides bounds",
        ),
        pytest.param(
            {"cooldown": {"down": "5m"}},
            {},
            [Setting("cooldown.down", "5m", "0s")],
            id="a setting that is not there any more has its default",
        ),
    ],
)
def test_settings_that_differ(old: dict, new: dict, expected: list[Setting]) -> None:
    assert settings(policy(**old), policy(**new)) == expected


def run(*steps: tuple[float, int], changes: tuple[Change, ...] = ()) -> Timeline:
    """A run of 100 s with these desired replicas."""
    times, values = zip(*steps, strict=True)
    one = Steps((0.0,), (1,))
    return Timeline(0.0, 100.0, 10, one, one, one, Steps(times, values), (), changes)


UP = Change(20.0, 1, 2, "MetricAboveTarget", "why")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(run((0, 1)), run((0, 1)), Difference(0.0, ()), id="never"),
        pytest.param(
            run((0, 1)),
            run((0, 1), (20, 2), changes=(UP,)),
            Difference(0.8, (Moment(20.0, 1, 2, UP),)),
            id="from one change on",
        ),
        pytest.param(
            run((0, 1)),
            run((0, 1), (20, 2), (30, 3), (40, 1)),
            Difference(0.2, (Moment(20.0, 1, 2, None),)),
            id="for a while, which is told once",
        ),
        pytest.param(
            run((0, 2)),
            run((0, 1)),
            Difference(1.0, (Moment(0.0, 2, 1, None),)),
            id="from the start",
        ),
    ],
)
def test_decisions_that_differ(old: Timeline, new: Timeline, expected: Difference) -> None:
    assert decisions(old, new) == expected


SHORT = ("--workload", "class-of-200")


@pytest.fixture
def both(tmp_path: Path) -> tuple[str, str]:
    for name, text in (("old", RULES), ("new", RULES.replace("spare: 5", "spare: 20"))):
        (tmp_path / f"{name}.yaml").write_text(text)
    return str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml")


def test_an_edit_is_told_in_words(both: tuple[str, str], capsys: pytest.CaptureFixture) -> None:
    assert main(["diff", *both, *SHORT, "--price", "0.12/h"]) == 0
    out = capsys.readouterr().out

    assert out.startswith("metrics[0].spare: 5 -> 20\n")
    assert "The desired replicas differ for " in out
    assert "MetricAboveTarget: sessions: (" in out
    assert "cost  " in out
    assert "Trace: class of 200 in 5 minutes, seed 1. One decision every 5s; " in out


def test_an_edit_is_told_as_json(both: tuple[str, str], capsys: pytest.CaptureFixture) -> None:
    assert main(["diff", *both, *SHORT, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert found["settings"] == [{"path": "metrics[0].spare", "old": 5, "new": 20}]
    assert found["decisions"]["differ_percent"] > 0
    assert found["new"]["refused"] < found["old"]["refused"]


def test_each_policy_has_in_json_what_simulate_says_of_it(
    both: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ("--trace", str(some_days(tmp_path / "visits.csv")), "--tick", "60s", "--price", "2/h")
    assert main(["diff", *both, *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    for name, path in zip(("old", "new"), both, strict=True):
        assert main(["simulate", "--policy", path, *words, "--json"]) == 0
        alone = json.loads(capsys.readouterr().out)
        extra = {"policy_differs"} if name == "new" else set()
        assert found[name].keys() - extra == alone.keys() - {"static", "against"}
        assert {key: found[name][key] for key in alone.keys() & found[name].keys()} == {
            key: alone[key] for key in alone.keys() & found[name].keys()
        }
    assert len(found["new"]["policy_differs"]["replica_hours_percent"]) == 2


NO_SEATS = RULES.replace("type: sessions, seats: 10, spare: 5", "type: cpu, utilization: 60%")


@pytest.mark.parametrize(
    ("old", "new", "words", "told"),
    [
        pytest.param(5, 8, (), (5, 8), id="an edit of the seats: each policy has pods of its own"),
        pytest.param(5, 8, ("--seats", "6"), (6, 6), id="--seats: the pods of both are as stated"),
        pytest.param(
            None, 8, (), (8, 8), id="an old policy without seats: the pods of the new one"
        ),
        pytest.param(5, None, (), (5, 5), id="a new policy without seats: the pods of the old one"),
        pytest.param(None, None, (), (20, 20), id="neither has seats: the default"),
    ],
)
def test_each_policy_is_simulated_with_pods_of_its_own_seats(
    old: int | None,
    new: int | None,
    words: tuple[str, ...],
    told: tuple[int, int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    files = []
    for name, seats in (("old", old), ("new", new)):
        text = RULES.replace("seats: 10", f"seats: {seats}") if seats else NO_SEATS
        (tmp_path / f"{name}.yaml").write_text(text)
        files.append(str(tmp_path / f"{name}.yaml"))
    assert main(["diff", *files, *SHORT, *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["diff", *files, *SHORT, *words]) == 0
    out = capsys.readouterr().out

    assert (found["old"]["assumptions"]["seats"], found["new"]["assumptions"]["seats"]) == told
    line = f"Seats per pod, as each policy has them: old {told[0]}, new {told[1]};"
    assert (line in out) is (told[0] != told[1])


def test_more_seats_refuse_fewer_users_and_have_the_bound_of_their_own_pods(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    files = [str(tmp_path / f"{seats}.yaml") for seats in (5, 8)]
    for path, seats in zip(files, (5, 8), strict=True):
        Path(path).write_text(RULES.replace("seats: 10", f"seats: {seats}"))
    assert main(["diff", *files, *SHORT, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["simulate", "--policy", files[0], "--against", files[1], *SHORT, "--json"]) == 0
    beside = json.loads(capsys.readouterr().out)

    assert found["new"]["refused"] < found["old"]["refused"]
    assert found["new"]["bounds"]["sticky"] < found["old"]["bounds"]["sticky"]
    (against,) = beside["against"].values()
    assert against == {key: found["new"][key] for key in against}


def test_a_new_file_with_two_policies_is_wrong_input(
    both: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    with Path(both[1]).open("a") as file:
        file.write("---\n" + RULES)
    assert main(["diff", *both, *SHORT]) == 2
    assert capsys.readouterr().err == f"{both[1]}: has 2 policies, expected one\n"


def test_equal_policies_decide_the_same(
    both: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    assert main(["diff", both[0], both[0], *SHORT]) == 0
    out = capsys.readouterr().out

    assert "The settings are equal." in out
    assert "The desired replicas differ for 0.0 % of the time." in out


def test_a_policy_that_is_missing_is_wrong_input(
    both: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    assert main(["diff", both[0], "no.yaml"]) == 2
    assert "no.yaml: cannot be read" in capsys.readouterr().err
