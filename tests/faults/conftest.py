"""The stage of all rows, one control plane and one Prometheus, and the rows that are played on it.

A row mostly waits: for passes, for a cache to grow old, for pods to be seen unchanged. So several
are played at the same time, the longest first, and each test waits for its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.faults.row import Row
from tests.faults.scene import Stage, a_stage
from tests.faults.story import play

AT_ONCE = 5


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        try:
            stage = stack.enter_context(a_stage(tmp_path_factory.mktemp("faults")))
        except LookupError as missing:
            pytest.skip(str(missing))
        yield stage


class Plays:
    """Rows that are being played. A row that is asked for again is played again."""

    def __init__(self, stage: Stage, pool: ThreadPoolExecutor, rows: list[Row]) -> None:
        self._stage, self._pool = stage, pool
        rows.sort(key=lambda row: not row.is_long)
        self._begun: dict[str, Future[None]] = {row.key: self._begin(row) for row in rows}

    def _begin(self, row: Row) -> Future[None]:
        return self._pool.submit(play, self._stage, row)

    def await_end(self, row: Row) -> None:
        """Wait until the row has been played. Raises what it raised."""
        (self._begun.pop(row.key, None) or self._begin(row)).result()


@pytest.fixture(scope="session")
def plays(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Plays]:
    """All rows that are selected."""
    chosen = [getattr(item, "callspec", None) for item in request.session.items]
    rows = [each.params["row"] for each in chosen if each and "row" in each.params]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield Plays(stage, pool, rows)
        pool.shutdown(cancel_futures=True)
