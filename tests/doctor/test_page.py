"""The page lists every finding that there is, and each with its severity."""

from __future__ import annotations

import re
from pathlib import Path

from tests.deploy.pages import DOCTOR_PAGE

CHECKS = Path(__file__).parents[2] / "autoscaler" / "doctor"
ROW = re.compile(r"^\| `([a-z-]+)` \| ([^|]+) \|", re.MULTILINE)


def raised() -> dict[str, set[str]]:
    """By the id of each finding in the code: the functions that make it."""
    found: dict[str, set[str]] = {}
    for file in CHECKS.glob("checks_*.py"):
        for how, name in re.findall(r"\b(\w+)\(\s*\"([a-z-]+)\",\n", file.read_text()):
            found.setdefault(name, set()).add(how)
    return found


def test_the_page_lists_every_finding_with_its_severity() -> None:
    rows = dict(ROW.findall(DOCTOR_PAGE.read_text()))

    assert set(rows) == set(raised())
    for name, hows in raised().items():
        for how in hows & {"error", "warning", "note"}:
            assert how in rows[name], name
