"""Every alert fires when it should, says so with the numbers, and is quiet when it should be.

Every recording rule records what it should.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.alert_cases import CASES, Case, Series
from tests.deploy.monitoring import PROMETHEUS_RULE, ROOT, RULES, alerts, copies, recordings
from tests.deploy.recording_cases import RECORDINGS, Recording
from tests.lab.build import PROMETHEUS, installed

RUNBOOK = ROOT / "docs" / "runbook.md"
PROMTOOLS = {"packaged": "`apt-get install prometheus`", "current": "`make parts`"}


def promtool_of(release: str) -> Path | None:
    """The distribution's 2.x, or the current one that we built."""
    if release == "current":
        folder = installed(PROMETHEUS)
        return folder / "promtool" if folder else None
    found = shutil.which("promtool")
    return Path(found) if found else None


@pytest.fixture(params=PROMTOOLS)
def promtool(request: pytest.FixtureRequest) -> Path:
    program = promtool_of(request.param)
    if program is None:
        how = PROMTOOLS[request.param]
        pytest.skip(f"NO PROMTOOL ({request.param}): {how} gets it")
    return program


def run(program: Path, *words: str | Path) -> None:
    command = [str(program), *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


def unit_tests() -> list[dict[str, Any]]:
    """promtool's own shape of CASES. Those about one namespace share a database: a second of work.

    Where a case is about the absence of a series, it needs a database for itself.
    """
    shared = UnitTest()
    alone: list[UnitTest] = []
    variants = [(case, series) for case in CASES for series in (case.fires, *case.quiet.values())]
    for number, (case, series) in enumerate(variants):
        test = shared
        if "NS" not in str(series):
            alone.append(test := UnitTest())
        test.add(case, series, f"ns-{number}", fires=series is case.fires)
    return [test.content() for test in (shared, *alone)]


class UnitTest:
    """One test of promtool: its series, and what each alert shall say when it is looked at.

    At once it says nothing yet, if it has a `for`.
    """

    def __init__(self) -> None:
        self._series: Series = {}
        self._expected: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def add(self, case: Case, series: Series, namespace: str, *, fires: bool) -> None:
        own = {name.replace("NS", namespace): values for name, values in series.items()}
        assert not self._series.keys() & own.keys()
        self._series = {**self._series, **own}
        expected = self._expected.setdefault((case.alert, case.after), [])
        if fires:
            expected.append(said(case, namespace))

    def content(self) -> dict[str, Any]:
        waiting = [alert for alert, _ in self._expected if "for" in alerts()[alert]]
        return {
            "interval": "1m",
            "input_series": [{"series": s, "values": v} for s, v in self._series.items()],
            "alert_rule_test": [
                *(expectation(alert, "0m", []) for alert in waiting),
                *(expectation(*looked_at, firing) for looked_at, firing in self._expected.items()),
            ],
        }


def expectation(alert: str, at: str, firing: list[dict[str, Any]]) -> dict[str, Any]:
    return {"eval_time": at, "alertname": alert, "exp_alerts": firing}


def said(case: Case, namespace: str) -> dict[str, Any]:
    """What an alert says when it fires; what does not depend on numbers, as the rule has it."""
    rule = alerts()[case.alert]
    labels = {name: value.replace("NS", namespace) for name, value in case.labels.items()}
    words = {**rule["annotations"], "description": case.says.replace("NS", namespace)}
    return {"exp_labels": {**rule["labels"], **labels}, "exp_annotations": words}


def recorded(case: Recording) -> dict[str, Any]:
    """promtool's own shape of a case. Rounded, for releases differ in the last digits."""
    samples = [
        {"labels": f'{{namespace="NS",{labels}}}', "value": value}
        for labels, value in case.values.items()
    ]
    question = {
        "expr": f"round({case.record}, 0.001)",
        "eval_time": "20m",
        "exp_samples": samples,
    }
    return {
        "interval": "1m",
        "input_series": [{"series": s, "values": v} for s, v in case.series.items()],
        "promql_expr_test": [question],
    }


def run_tests(promtool: Path, folder: Path, tests: list[dict[str, Any]]) -> None:
    content = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    (folder / "tests.yaml").write_text(yaml.safe_dump(content))

    run(promtool, "test", "rules", folder / "tests.yaml")


def test_each_alert_fires_and_is_quiet_as_it_should(promtool: Path, tmp_path: Path) -> None:
    run_tests(promtool, tmp_path, unit_tests())


def test_each_recording_rule_records_what_it_should(promtool: Path, tmp_path: Path) -> None:
    run_tests(promtool, tmp_path, [recorded(case) for case in RECORDINGS])


def test_no_fault_is_found_with_the_rules(promtool: Path) -> None:
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", RULES)


def test_no_alert_is_without_a_case_that_fires_and_one_that_does_not() -> None:
    assert list(dict.fromkeys(case.alert for case in CASES)) == list(alerts())
    assert all(case.quiet for case in CASES)


def test_no_recording_rule_is_without_a_case() -> None:
    assert [case.record for case in RECORDINGS] == list(recordings())


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_what_it_means_and_where_to_read_on(name: str) -> None:
    rule = alerts()[name]

    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
    assert rule["annotations"]["summary"].endswith(".")


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    sections = re.split(r"^## ", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]
    by_name = dict(section.split("\n", 1) for section in sections)

    assert list(by_name) == list(alerts())
    for name, text in by_name.items():
        for part in ("**Means**", "**Look**", "**Do**"):
            assert part in text, f"{name}: {part}"


@pytest.mark.parametrize("path", copies(), ids=lambda path: path.name)
def test_the_copies_are_fresh(path: Path) -> None:
    how = "bring it up to date: python -m tests.deploy.monitoring"

    assert path.read_text() == copies()[path], how


def test_the_component_has_the_rules_as_they_are() -> None:
    rule = yaml.safe_load(PROMETHEUS_RULE.read_text())

    assert rule["spec"] == yaml.safe_load(RULES.read_text())
