"""A failure on a starved machine is no verdict: the test is made again, and void in the end.

The first failure of a test is none either, but it is shown.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import starvation
from tests.lab.counts import total
from tests.lab.starvation import Moment, Watch

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("late", "waited", "starved"),
    [
        pytest.param(0.1, 1.0, False, id="an idle machine"),
        pytest.param(2.0, 1.0, True, id="threads are woken late"),
        pytest.param(0.1, 7.0, True, id="tasks wait for a processor most of the time"),
    ],
)
def test_a_machine_is_starved_if(
    late: float, waited: float, starved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()
    moments = iter([Moment(100.0, 5.0, 50.0), Moment(110.0, 5.0 + late, 50.0 + waited)])
    monkeypatch.setattr(watch, "now", lambda: next(moments))

    assert bool(watch.starved_since(watch.now())) is starved


def test_the_kernel_tells_for_how_long_tasks_have_waited() -> None:
    if not starvation.PRESSURE.exists():
        pytest.skip("NO /proc/pressure/cpu: this kernel does not tell")
    assert starvation.waiting() > 0


FAILING = """
import pytest
from tests import conftest

conftest.WATCH.starved_since = lambda began: {how!r}

{marker}
def test_it(): assert False
"""
TIMED = "@pytest.mark.timing_sensitive"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "marker", "outcomes"),
    [
        pytest.param("", "", {"failed": 1, "rerun": 1}, id="on a quiet machine"),
        pytest.param("", TIMED, {"failed": 1, "rerun": 1}, id="of real time on a quiet machine"),
        pytest.param("late", "", {"failed": 1, "rerun": 2}, id="of a starved one"),
        pytest.param("late", TIMED, {"skipped": 1, "rerun": 2}, id="of real time on a starved one"),
    ],
)
def test_a_failure(
    how: str,
    marker: str,
    outcomes: dict[str, int],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TEST_COUNTS", raising=False)  # these failures are nobody's
    pytester.makepyprojecttoml((ROOT / "pyproject.toml").read_text())
    pytester.makeconftest("from tests.conftest import *")
    pytester.makepyfile(FAILING.format(how=how, marker=marker))

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", str(pytester.path))

    found = {kind: count for kind, count in result.parseoutcomes().items() if kind != "warnings"}
    assert found == outcomes
    assert ("failed, and was made again: test_" in result.stdout.str()) is ("rerun" in found)


def test_one_line_counts_all_parts() -> None:
    lines = [
        '{"counts": {"passed": 2, "failed": 0}, "seconds": 1.5}',
        '{"counts": {"passed": 3, "skipped": 1}, "seconds": 2}',
    ]
    assert total(lines).strip("=") == " 5 passed, 1 skipped in 3.50s "


def test_tests_that_workers_run_are_counted_once(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = pytester.path / "counts"
    monkeypatch.setenv("TEST_COUNTS", str(file))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makeconftest("from tests.conftest import *")
    pytester.makepyfile("def test_one(): pass\n\ndef test_two(): pass\n")

    pytester.runpytest_subprocess("-n", "2", str(pytester.path))

    assert " 2 passed in" in total(file.read_text().splitlines())
