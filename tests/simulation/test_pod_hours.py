"""The benchmark of what replica-hours are spent on, as the page of the simulation names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.simulation.timeline import Phase
from tests.benchmarks import pod_hours

VISITS = """start,end
2026-01-12 09:00,2026-01-12 10:00
2026-01-12 09:10,2026-01-12 09:40
2026-01-12 09:20,2026-01-12 11:00
"""


def test_it_prints_each_phase_and_each_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "visits.csv"
    file.write_text(VISITS)

    assert pod_hours.main([str(file)]) == 0

    name, least, *lines = capsys.readouterr().out.splitlines()
    assert "visits.csv" in name
    assert "at least 2.0 replica-hours" in least, "one pod from the first user to the last"
    titles = [line.strip() for line in lines]
    for wanted in ("the policy", *Phase, *(case.title for case in pod_hours.CASES)):
        assert any(title.startswith(wanted) for title in titles), wanted
    phases = lines[1 : 1 + len(Phase)]
    shares = [float(line.split()[1]) for line in phases]
    assert sum(shares) == pytest.approx(100.0 + float(lines[0].split()[2]), abs=0.5)
