"""Read recorded sessions from a file, in whichever of the known forms it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from itertools import islice
from pathlib import Path

from autoscaler.adapters.traces import columns, parquet
from autoscaler.adapters.traces.columns import Columns, ColumnsError, Kind
from autoscaler.adapters.traces.counts import read_counts
from autoscaler.adapters.traces.dates import DateOrder, OrderError, find_order, is_numbered
from autoscaler.adapters.traces.events import read_events
from autoscaler.adapters.traces.log import (
    Log,
    finished,
    refuse_day_numbers,
    refuse_mixed_times,
)
from autoscaler.adapters.traces.opening import Progress, first_bytes
from autoscaler.adapters.traces.problems import Problems, TraceError
from autoscaler.adapters.traces.records import json_table, looks_like_json
from autoscaler.adapters.traces.sessions import read_sessions
from autoscaler.adapters.traces.tables import Table, csv_table, with_header_as_row
from autoscaler.adapters.traces.times import LocalClock, TimeReader
from autoscaler.simulation.measured import NOTHING_MEASURED, Measured
from autoscaler.simulation.trace import MAX_SESSIONS, Trace, trace_of

# Times by which to see whether a file has dates such as 13/01/2026 at all.
LOOK_AT = 200


@dataclass(frozen=True)
class ReadingOptions:
    """How to interpret a file.

    columns: names of columns by role, in place of the known ones. clock: reads times without an
    offset. order: of day and month, if it is known. limit: largest number of sessions.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    clock: LocalClock = field(default_factory=LocalClock)
    order: DateOrder | None = None
    limit: int = MAX_SESSIONS


def load_trace(
    path: Path,
    options: ReadingOptions | None = None,
    progress: Progress = lambda _: None,
) -> Trace:
    """Return the sessions of a file. Raises TraceError.

    A session whose end equals its start lasts a second. progress: called with the share that is
    done, from 0 to 1.
    """
    options = options or ReadingOptions()
    table = _table(path, options, progress)
    found = _columns(table, options)
    if found.is_headerless():
        table = with_header_as_row(table)
    clock = LocalClock(UTC, "by the names of its columns") if found.in_utc else options.clock
    order = options.order or _order(table, found)
    reader = TimeReader(clock, order, decimal_comma=table.decimal_comma)
    problems = Problems(str(path), table.place, "row" if table.numbered else "line")
    log, told, measured = _read(table, found, reader, problems, options.limit)
    refuse_mixed_times(table, reader)
    refuse_day_numbers(table, reader, log)
    sessions, also_told = finished(log, table, problems, recorded=found.kind is not Kind.COUNT)
    notes = (found.note(), reader.notes(), *told, *also_told, problems.note())
    trace = trace_of(path.name, sessions, " ".join(filter(None, notes)))
    return replace(trace, measured=measured)


def _read(
    table: Table, found: Columns, reader: TimeReader, problems: Problems, limit: int
) -> tuple[Log, list[str], Measured]:
    """Return the sessions of a table, what to tell about them, and what was measured."""
    if found.kind is Kind.EVENT:
        log, told = read_events(table, found, reader, problems, limit)
        return log, told, NOTHING_MEASURED
    if found.kind is Kind.COUNT:
        return read_counts(table, found, reader, problems, limit)
    return read_sessions(table, found, reader, problems, limit), [], NOTHING_MEASURED


def _table(path: Path, options: ReadingOptions, progress: Progress) -> Table:
    def fits(header: Sequence[str]) -> bool:
        return columns.fits(header, options.columns)

    beginning = first_bytes(path)
    if beginning.startswith(parquet.MAGIC):
        return parquet.parquet_table(path, progress)
    if looks_like_json(beginning):
        return json_table(path, progress)
    return csv_table(path, fits, progress)


def _columns(table: Table, options: ReadingOptions) -> Columns:
    try:
        return columns.find(table.header, options.columns)
    except ColumnsError as error:
        raise TraceError(f"{table.place(table.header_line)}: {error}") from None


def _order(table: Table, found: Columns) -> DateOrder | None:
    """Return the order of day and month in the times of a table, by reading all of them."""
    indexes = [found.at[role] for role in ("start", "end", "time") if role in found.at]

    def cells() -> Iterator[tuple[int, str]]:
        for line, row in table.rows():
            for index in indexes:
                if index < len(row):
                    yield line, row[index]

    if not any(is_numbered(cell) for _, cell in islice(cells(), LOOK_AT)):
        return None
    try:
        return find_order(cells())
    except OrderError as error:
        raise TraceError(f"{table.place(error.line)}: {error}") from None
