"""Rows with the start and the end (or the duration) of a session. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

from autoscaler.adapters.traces.columns import Columns
from autoscaler.adapters.traces.durations import read_duration
from autoscaler.adapters.traces.log import LONGEST, Log
from autoscaler.adapters.traces.problems import Problems, TraceError, quoted
from autoscaler.adapters.traces.tables import Table
from autoscaler.adapters.traces.times import TimeReader, TraceTime, end_after, is_open
from autoscaler.simulation.trace import SHORTEST_SESSION


def read_sessions(
    table: Table, columns: Columns, reader: TimeReader, problems: Problems, limit: int
) -> Log:
    """Return the sessions of a table. Raises TraceError for too many."""
    log, row = Log(), _SessionRow(columns, reader, table)
    identifier = columns.at.get("session", columns.at.get("id"))
    for line, cells in table.rows():
        problems.rows += 1
        if len(log.starts) == limit:
            raise TraceError(
                f"{table.place(line)}: expected at most {limit:,} sessions; split it by weeks"
            )
        try:
            start, end = row.read(line, cells)
        except ValueError as error:
            problems.add(line, str(error))
            continue
        log.add(start, end, line)
        if identifier is not None:
            log.ids.append(hash(cells[identifier]) if identifier < len(cells) else 0)
    return log


class _SessionRow:
    """Reads start and end from the cells of a row."""

    def __init__(self, columns: Columns, reader: TimeReader, table: Table) -> None:
        self._columns, self._reader = columns, reader
        self._width = len(table.header)
        self._start = columns.at["start"]
        self._end = columns.at.get("end")
        self._duration = columns.at.get("duration", -1)
        self._decimal_comma = table.decimal_comma

    def read(self, line: int, cells: Sequence[str]) -> tuple[float, float]:
        """Return start and end. Raises ValueError with the reason."""
        refuse_extra_cells(cells, self._width)
        start = self._time("start", self._start, line, cells)
        if self._end is None:
            return start.at, self._end_by_duration(start.at, cells)
        cell = _cell(cells, self._end)
        if is_open(cell):
            return start.at, nan
        end = end_after(start, self._time("end", self._end, line, cells))
        length = end - start.at
        if 0 <= length <= LONGEST:
            return start.at, max(end, start.at + SHORTEST_SESSION)
        if length > 0:
            raise ValueError(f"the session lasts {length / 86_400:,.0f} days, expected at most 366")
        zone = " (the start does not exist in the time zone; check the zone)" * start.skipped
        before = f"is {-length:.10g} s before start, expected it after start"
        raise ValueError(f"end: {quoted(cell)} {before}{zone}")

    def _time(self, role: str, index: int, line: int, cells: Sequence[str]) -> TraceTime:
        cell = _cell(cells, index)
        try:
            return self._reader.read(cell, line)
        except ValueError as error:
            raise ValueError(f"{role}: {quoted(cell)}: {error}") from None

    def _end_by_duration(self, start: float, cells: Sequence[str]) -> float:
        cell = _cell(cells, self._duration)
        if is_open(cell):
            return nan
        number = cell.replace(",", ".") if self._decimal_comma else cell
        try:
            length = read_duration(number, self._columns.unit)
            if length > LONGEST:
                raise ValueError("expected at most 366 days")
        except ValueError as error:
            raise ValueError(f"duration: {quoted(cell)}: {error}") from None
        return start + max(length, SHORTEST_SESSION)


def _cell(cells: Sequence[str], index: int) -> str:
    return cells[index].strip() if index < len(cells) else ""


def refuse_extra_cells(cells: Sequence[str], width: int) -> None:
    """Raise ValueError for a row with more cells than the header has."""
    if len(cells) > width and any(cell.strip() for cell in cells[width:]):
        raise ValueError(
            f"{len(cells)} cells for {width} columns, expected decimal points in numbers"
            " and quotes around cells with separators"
        )
