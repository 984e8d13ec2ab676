"""`autoscaler tune`: what it prints and writes, its exit codes, and where it runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from autoscaler.cli import main
from tests.simulation.traces import some_days

RULES = """\
name: dashboards
target: {namespace: bokeh, deployment: bokeh-app}
replicas: {min: 1, max: 20}
metrics:
  - {type: sessions, seats: 10, spare: 40}  # many
"""
FEW = ("--candidates", 8, "--jobs", 1, "--tick", "60s", "--goal", "refused < 2%")


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


@pytest.fixture
def visits(tmp_path: Path) -> Path:
    return some_days(tmp_path / "visits.csv")


def tune(*words: object) -> int:
    return main(["tune", *map(str, words)])


def test_one_sentence_comes_first_then_a_table_and_the_diff(rules, visits, tmp_path, capsys):
    html = tmp_path / "tune.html"
    assert tune("--policy", rules, "--trace", visits, *FEW, "--price", "2/h", "--html", html) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("Recommended: spare ")
    assert "the cheapest of 8 policies that meets refused < 2%" in out[0]
    assert " ".join(out[1].split()) == "replica-hours cost no seat in % cut values"
    assert [line.split()[0] for line in out[2:4]] == ["current", "recommended"]
    assert "-  - {type: sessions, seats: 10, spare: 40}  # many" in out
    assert out[-1] == f"Report: {html}"
    assert html.stat().st_size > 100_000


def test_the_recommended_policy_is_written_with_its_comments_and_is_better(
    rules, visits, tmp_path, capsys
):
    better = tmp_path / "better.yaml"
    words = ("--trace", visits, *FEW, "--json")
    assert tune("--policy", rules, *words, "--write", better) == 0
    first = json.loads(capsys.readouterr().out)
    assert better.read_text().endswith("}  # many\n")

    assert (
        main(
            [
                "simulate",
                "--policy",
                str(better),
                *map(str, ("--trace", visits, "--tick", "60s", "--json")),
            ]
        )
        == 0
    )
    score = json.loads(capsys.readouterr().out)
    assert score["replica_hours"] == pytest.approx(first["recommended"]["replica_hours"], abs=1e-3)
    assert score["replica_hours"] < first["current"]["replica_hours"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(
            ("--html", "rules.yaml"),
            "--html rules.yaml would replace the file of --policy; set another --html\n",
            id="the report over the policy",
        ),
        pytest.param(
            ("--write", "visits.csv"),
            "--write visits.csv would replace the file of --trace; set another --write\n",
            id="the policy over the trace",
        ),
        pytest.param(
            ("--write", "new", "--html", "./new"),
            "--write new would replace the file of --html; set another --write\n",
            id="the policy over the report",
        ),
    ],
)
def test_no_file_that_is_read_is_replaced(
    rules, visits, tmp_path, capsys, monkeypatch, words, expected
):
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert tune("--policy", rules, "--trace", visits, *FEW, *words) == 2
    assert capsys.readouterr().err == expected
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_policy_file_itself_may_be_written(rules, visits):
    assert tune("--policy", rules, "--trace", visits, *FEW, "--json", "--write", rules) == 0
    assert rules.read_text() != RULES
    assert rules.read_text().endswith("}  # many\n")


def test_the_help_has_percent_signs_as_people_write_them(capsys):
    with pytest.raises(SystemExit):
        tune("--help")
    out = capsys.readouterr().out
    assert "95 % upper bound" in " ".join(out.split())
    assert "%%" not in out


def test_json_says_all_that_is_needed_to_repeat_it(rules, visits, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    assert tune("--policy", rules, "--trace", visits, *FEW, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() >= {"verdict", "sentence", "goal", "seed", "trace", "policy", "versions"}
    assert found["verdict"] == "better"
    assert len(found["policies"]) == 8
    assert found["cost_difference"][1] < 0
    assert set(tmp_path.iterdir()) == before, "it writes no report"


def test_if_none_meets_the_goal_nothing_is_recommended(rules, visits, tmp_path, capsys):
    better, html = tmp_path / "better.yaml", tmp_path / "tune.html"
    words = ("--candidates", 3, "--jobs", 1, "--tick", "60s", "--goal", "refused < 0.1%")
    code = tune("--policy", rules, "--trace", visits, *words, "--write", better, "--html", html)
    assert code == 1
    said = capsys.readouterr().out.splitlines()[0]
    assert said.startswith("Nothing is recommended: none of 3 policies surely meets refused < 0.1%")
    assert said.endswith("and so few sessions could not show less than 0.73 %.")
    assert not better.exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--when-full", "wait"), "--when-full: tune counts users who are refused; leave it out\n"),
        (
            ("--workload", "class-of-200"),
            "class of 200 in 5 minutes, seed 1: 1 day, expected sessions of at least 3 days\n",
        ),
    ],
)
def test_wrong_input_exits_with_2(rules, capsys, words, expected):
    assert tune("--policy", rules, *words) == 2
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--goal=cut == 0", "expected a share, such as 'refused < 0.1%'"),
        ("--goal=refused > 1%", "expected a share, such as 'refused < 0.1%'"),
        ("--jobs=0", "expected a whole number, 1 to 1000"),
        ("--candidates=1", "expected a whole number, 2 to 10000"),
        ("--try-placement=best", "invalid"),
        ("--dask=scheduler", "expected tcp://HOST:PORT or tls://HOST:PORT"),
        ("--against=static:3", "unrecognized arguments"),
    ],
)
def test_wrong_options_say_what_was_expected(rules, capsys, option, expected):
    with pytest.raises(SystemExit) as caught:
        tune("--policy", rules, option)
    assert caught.value.code == 2
    assert expected in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_told_in_one_line(rules, visits, tmp_path, capsys):
    html = tmp_path / "missing" / "tune.html"
    assert tune("--policy", rules, "--trace", visits, *FEW, "--html", html) == 2
    reason = f"cannot write {html}: No such file or directory; set another --html\n"
    assert capsys.readouterr().err == reason


def test_without_the_package_of_dask_it_says_what_to_install(rules, visits, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert tune("--policy", rules, "--trace", visits, "--dask", "tcp://127.0.0.1:1") == 2
    assert capsys.readouterr().err == (
        "--dask needs the package distributed; run pip install distributed\n"
    )
