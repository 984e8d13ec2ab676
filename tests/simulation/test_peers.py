"""The command that compares this autoscaler with others on several traces."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks import peers

DAY = "start,end\n" + "".join(
    f"2026-01-12T{8 + n // 12:02}:{n % 12 * 5:02}:00Z,2026-01-12T{9 + n // 12:02}:{n % 60:02}:00Z\n"
    for n in range(96)
)


def test_it_prints_a_row_of_the_page_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "day.csv"
    file.write_text(DAY)
    monkeypatch.setattr(sys, "argv", ["peers", str(file)])
    own = [("day", ("--trace", str(file), "--timezone", "UTC"))]
    monkeypatch.setattr(peers, "traces", lambda files: iter(own))

    assert peers.main() == 0

    head, _, row = capsys.readouterr().out.splitlines()
    assert row.count("|") == head.count("|")
    assert row.startswith("| day | ")
    ours, *others = row.split(" | ")[1:6]
    assert ours.endswith("0.00 % refused, 0 cut")
    assert all("% refused" in each for each in others)
