"""Each row of docs/faults.md: the daemon, in a fault and after it, with real servers around it."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Plays
from tests.faults.row import Row
from tests.faults.table import ROWS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.control_plane,
    pytest.mark.prometheus,
    pytest.mark.timeout(420),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_the_daemon_does_what_the_page_says(plays: Plays, row: Row) -> None:
    plays.await_end(row)
