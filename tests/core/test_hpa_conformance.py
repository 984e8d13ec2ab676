"""The core decides as the HPA v2 controller does: every recorded fact, one test each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.core.hpa_facts import check, holds

DATA = Path(__file__).parent / "data"
# Read by every process that collects tests: libyaml takes a tenth of the time.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def facts() -> list[object]:
    return [
        pytest.param(expected, got, id=name)
        for file in ("hpa_cases.yaml", "hpa_real_cases.yaml")
        for name, expected, got in check(yaml.load((DATA / file).read_text(), LOADER))
    ]


@pytest.mark.parametrize(("expected", "got"), facts())
def test_decides_as_the_hpa_controller_does(expected: object, got: object) -> None:
    assert holds(expected, got), f"expected {expected}, got {got}"


def test_there_are_as_many_facts_as_were_recorded() -> None:
    assert len(facts()) == 98 + 125


def test_the_command_prints_each_failed_fact_and_exits_1(tmp_path: Path) -> None:
    wrong = {"calc": [{"id": "W1", "func": "average_value", "current": 1, "target": 10}]}
    wrong["calc"][0] |= {"samples": [40], "expect": {"replicas": 5}}
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump(wrong))

    run = subprocess.run(
        [sys.executable, "-m", "tests.core.hpa_facts", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 1
    assert run.stdout.splitlines() == [
        "W1: expected {'replicas': 5}, got {'replicas': 4}",
        "0 passed, 1 failed",
    ]
