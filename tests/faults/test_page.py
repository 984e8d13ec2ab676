"""docs/faults.md is made of the rows that are played, and no row says what nothing plays."""

from __future__ import annotations

import pytest

from autoscaler.model import Reason
from tests.deploy.monitoring import ROOT, alerts
from tests.faults.acting import DOES, FAILED, RECOVERS
from tests.faults.faults import FAULTS
from tests.faults.page import PAGE, page
from tests.faults.row import Row, Shown
from tests.faults.story import OWN
from tests.faults.table import ROWS


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == page(), "bring it up to date: python -m tests.faults.page"


@pytest.mark.parametrize("name", ["README.md", "docs/runbook.md"])
def test_other_pages_lead_to_it(name: str) -> None:
    assert "faults.md)" in (ROOT / name).read_text()


def test_each_row_is_played_once_and_nothing_else_is() -> None:
    keys = [row.key for row in ROWS]

    assert len(keys) == len(set(keys))
    assert {*keys} == FAULTS.keys() | OWN.keys()
    usual = [row for row in ROWS if row.key not in OWN]
    assert {row.does for row in usual} == DOES.keys()
    assert {row.recovers for row in usual} <= RECOVERS.keys()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_row_has_the_words_of_the_daemon(row: Row) -> None:
    assert row.reason in {*Reason, *FAILED, ""}
    assert {*row.alerts} <= alerts().keys()
    assert row.metric.series.startswith("bokeh_")


@pytest.mark.parametrize(
    ("how", "before", "after", "expected"),
    [
        ("increases", 3.0, 4.0, True),
        ("increases", 3.0, 3.0, False),
        ("increases", None, 1.0, True),
        ("is 0", 1.0, 0.0, True),
        ("is 0", 0.0, None, False),
        ("is above 45", 0.0, 45.0, False),
        ("is below -3500", 0.0, -3_600.0, True),
    ],
)
def test_a_metric_is_shown_or_not(
    how: str, before: float | None, after: float | None, expected: bool
) -> None:
    assert Shown("bokeh_x", how).holds(before, after) is expected
