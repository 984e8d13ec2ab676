"""Rows with a time and the number of sessions at that time, made into sessions. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import isfinite
from statistics import median

from autoscaler.adapters.traces.columns import Columns
from autoscaler.adapters.traces.log import Log
from autoscaler.adapters.traces.problems import LARGEST_SHARE, Problems, TraceError, quoted
from autoscaler.adapters.traces.sessions import refuse_extra_cells
from autoscaler.adapters.traces.tables import Table
from autoscaler.adapters.traces.times import TimeReader, is_open
from autoscaler.simulation.measured import Measured, Usage
from autoscaler.simulation.rebuild import Count, sessions_of

LARGEST_COUNT = 1_000_000
NOTE = (
    "It has counts instead of sessions: each increase is read as arrivals and each decrease as"
    " departures of those who came first, spread evenly between two counts. Sessions that came and"
    " left between them are unknown, so the real number of arrivals is higher."
)

# Bytes; less is no memory of a server.
LEAST_MEMORY = 1e6
SMALL_MEMORY = (
    "Its memory is too little to be in bytes and is not used; name the column memory_mb if it is"
    " in megabytes."
)


@dataclass
class _Counts:
    times: array[float] = field(default_factory=lambda: array("d"))
    sessions: array[float] = field(default_factory=lambda: array("d"))
    usage: Usage = field(default_factory=Usage)
    most_memory: float = 0.0


def read_counts(
    table: Table, columns: Columns, reader: TimeReader, problems: Problems, limit: int
) -> tuple[Log, list[str], Measured]:
    """Return the sessions behind the counts of a table, what to tell, and what was measured.

    Raises TraceError for too many sessions.
    """
    counts, time = _Counts(), columns.at.get("time", columns.at.get("start", 0))
    for line, cells in table.rows():
        problems.rows += 1
        try:
            refuse_extra_cells(cells, len(table.header))
            at = _time(reader, cells, time, line)
            sessions = _number(table, cells, columns, "sessions")
        except ValueError as error:
            problems.add(line, str(error))
            continue
        counts.times.append(at)
        counts.sessions.append(sessions)
        cpu, memory = (_usage(table, cells, columns, role) for role in ("cpu", "memory"))
        counts.usage.add(sessions, (cpu, memory))
        counts.most_memory = max(counts.most_memory, memory or 0.0)
    measured, told = counts.usage.measured(), [NOTE]
    if 0 < counts.most_memory < LEAST_MEMORY:
        measured = replace(measured, memory_per_session=None)
        told.append(SMALL_MEMORY)
    return _log(table, counts, problems, limit), told, measured


def _log(table: Table, counts: _Counts, problems: Problems, limit: int) -> Log:
    log = Log()
    points = dict(sorted(zip(counts.times, counts.sessions, strict=True)))
    if not points:
        return log
    if (twice := len(counts.times) - len(points)) > LARGEST_SHARE * len(counts.times):
        has = "has" if twice == 1 else "have"
        raise TraceError(
            f"{table.path}: {twice:,} of {len(counts.times):,} rows {has} the time of another row,"
            " expected one count at each time; add up those of several apps or pods"
        )
    rounded = [Count(at, round(sessions)) for at, sessions in points.items()]
    arrivals = rounded[0].sessions + sum(
        max(0, later.sessions - each.sessions) for each, later in pairwise(rounded)
    )
    if arrivals > limit:
        raise TraceError(
            f"{table.path}: the counts have {arrivals:,} sessions, expected at most {limit:,};"
            " split it by weeks"
        )
    if not arrivals:
        problems.check()
        reason = f"{table.path}: no sessions, expected counts above 0; {problems.note()}"
        raise TraceError(reason.removesuffix("; "))
    step = median([later.at - each.at for each, later in pairwise(rounded)] or [1.0])
    for start, end in sessions_of(rounded, rounded[-1].at + step):
        log.add(start, end, 0)
    return log


def _time(reader: TimeReader, cells: Sequence[str], index: int, line: int) -> float:
    cell = cells[index].strip() if index < len(cells) else ""
    try:
        return reader.read(cell, line).at
    except ValueError as error:
        raise ValueError(f"time: {quoted(cell)}: {error}") from None


def _usage(table: Table, cells: Sequence[str], columns: Columns, role: str) -> float | None:
    """Return CPU in cores or memory in bytes, or None if it is unknown."""
    try:
        return _number(table, cells, columns, role) * columns.scales.get(role, 1.0)
    except ValueError:
        return None


def _number(table: Table, cells: Sequence[str], columns: Columns, role: str) -> float:
    index = columns.at.get(role, len(cells))
    cell = cells[index].strip() if index < len(cells) else ""
    expected = f"{role}: {quoted(cell)}: expected a number of at least 0"
    if is_open(cell):
        raise ValueError(expected)
    try:
        number = float(cell.replace(",", ".") if table.decimal_comma else cell)
    except ValueError:
        raise ValueError(expected) from None
    largest = LARGEST_COUNT if role == "sessions" else float("inf")
    if not (isfinite(number) and 0 <= number <= largest):
        raise ValueError(expected if number < 0 else f"{expected}, at most {LARGEST_COUNT:,}")
    return number
