"""`autoscaler check`: what it prints and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from autoscaler.cli import main
from tests.policies.files import GOOD, edited

POLICIES = Path(__file__).parents[2] / "policies"


def check(*words: object) -> int:
    return main(["check", *map(str, words)])


def test_a_good_file_gets_one_line(write, capsys):
    path = write(GOOD + "  - {type: cpu, utilization: 70%}\n")
    assert check(path) == 0
    assert capsys.readouterr().out == (
        f"{path}: ok, policy dashboards for bokeh/bokeh-app, 2..20 replicas,"
        " metrics sessions, cpu\n"
    )


def test_the_policies_that_we_ship_are_well_together(capsys):
    assert check(POLICIES) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list(POLICIES.glob("*.yaml"))) >= 6
    assert all(": ok, policy " in line for line in lines)


def test_every_error_of_every_file_is_printed(tmp_path, capsys):
    one, two, good = (tmp_path / name for name in ("one.yaml", "two.yml", "zgood.yaml"))
    one.write_text(edited("min: 2", "min: 0") + "x: 1\n")
    two.write_text("")
    good.write_text(GOOD)
    assert check(tmp_path) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{one}:6: replicas.min: got 0, expected at least 1"
    assert lines[1].startswith(f"{one}:11: x: unknown key")
    assert lines[2] == f"{two}: the file is empty, expected a policy"
    assert lines[3].startswith(f"{good}: ok, ")


def test_files_that_share_a_name_or_a_target_are_refused(tmp_path, capsys):
    paths = [tmp_path / name for name in ("a.yaml", "b.yaml")]
    for path in paths:
        path.write_text(GOOD)
    assert check(*paths) == 2
    a, b = paths
    assert capsys.readouterr().out.splitlines() == [
        f"{a}:1: name: dashboards is also the name of {b}, expected a different name in each",
        (
            f"{a}:2: target: bokeh/bokeh-app is also the target of {b},"
            " expected a different target in each"
        ),
        f"{b}:1: name: dashboards is also the name of {a}, expected a different name in each",
        (
            f"{b}:2: target: bokeh/bokeh-app is also the target of {a},"
            " expected a different target in each"
        ),
    ]


def test_a_file_given_twice_is_checked_once(write, capsys):
    path = write(GOOD)
    assert check(path, path.parent) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("none.yaml", "cannot be read (No such file or directory), expected a policy file"),
        ("a" * 300, "cannot be read (File name too long), expected a policy file"),
        ("", "has no policy file, expected files ending in .yaml or .yml"),
    ],
    ids=["a missing file", "a name that is too long", "a directory without policies"],
)
def test_a_path_without_a_policy_is_refused(tmp_path, capsys, name, problem):
    path = tmp_path / name
    assert check(path) == 2
    assert capsys.readouterr().out == f"{path}: {problem}\n"


def test_json_tells_the_same(tmp_path, capsys):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD)
    bad.write_text(edited("min: 2", "min: 0"))
    assert check("--json", good, bad) == 2
    assert json.loads(capsys.readouterr().out) == {
        "ok": False,
        "files": [
            {
                "file": str(good),
                "ok": True,
                "policy": {
                    "name": "dashboards",
                    "target": "bokeh/bokeh-app",
                    "metrics": ["sessions"],
                },
                "problems": [],
            },
            {
                "file": str(bad),
                "ok": False,
                "policy": None,
                "problems": [
                    {"line": 6, "path": "replicas.min", "message": "got 0, expected at least 1"}
                ],
            },
        ],
    }


def test_check_loads_no_client_library():
    """They cost most of a second to import; a check is to take a third of one."""
    program = (
        "import sys; from autoscaler.cli import main; main(['check', sys.argv[1]]);"
        "print({'bokeh', 'kubernetes', 'pandas', 'requests', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(POLICIES)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"
