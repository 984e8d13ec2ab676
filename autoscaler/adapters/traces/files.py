"""Read recorded sessions from a CSV file, and report each error with its line."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from autoscaler.adapters.traces.times import LocalClock, TimeKind, TraceTime, end_after, read_time
from autoscaler.errors import AutoscalerError
from autoscaler.simulation.trace import Session, Trace, trace_of

COLUMNS = ("start", "end")
MAX_BYTES = 100_000_000
MAX_SESSIONS = 1_000_000
MAX_ERRORS = 20
# Seconds, as the longest duration of a policy; a replay makes 2 million decisions in that time.
LONGEST = 366 * 86_400.0
# Seconds of a session that starts and ends within the same second of a log.
SHORTEST = 1.0
# Day numbers of spreadsheets from 1970 to 2100, and the longest session in days to look for.
DAY_NUMBERS = (25_569.0, 73_050.0)
LONGEST_IN_DAYS = 5.0
# Other formats by their first bytes, and what to do with such a file.
_OTHER_FILES = (
    (b"\x1f\x8b", "compressed with gzip; decompress it with gunzip"),
    (b"PK\x03\x04", "a workbook or an archive; save the sheet as CSV, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "a workbook; save the sheet as CSV"),
    (b"PAR1", "a Parquet file; export it as CSV"),
    (b"\xff\xfe", "UTF-16 text; save it as CSV in UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as CSV in UTF-8"),
    (b"{", "JSON; export it as CSV"),
    (b"[", "JSON; export it as CSV"),
)


class TraceError(AutoscalerError):
    """A trace that cannot be used; the message has up to 20 lines, each with file and line."""


@dataclass
class _Log:
    """The content of a file that has been read so far.

    first: the first line that has a time of each kind.
    """

    path: Path
    clock: LocalClock
    sessions: list[Session] = field(default_factory=list)
    lines: array[int] = field(default_factory=lambda: array("L"))
    errors: list[str] = field(default_factory=list)
    first: dict[TimeKind, int] = field(default_factory=dict)


def load_trace(path: Path, clock: LocalClock | None = None, limit: int = MAX_SESSIONS) -> Trace:
    """Return the sessions of a CSV file with the columns `start` and `end`.

    Times are ISO 8601 or seconds. A session whose end equals its start lasts a second. clock: reads
    times without an offset (default: as UTC). limit: largest number of sessions. Raises TraceError
    with all errors, at most 20.
    """
    log = _Log(path, clock or LocalClock())
    rows = _rows(path, _text(path))
    header, columns = _columns(path, rows)
    for line, row in rows:
        if len(log.sessions) == limit:
            log.errors.append(f"{path}:{line}: expected at most {limit:,} sessions")
            break
        _read(log, line, row, header, columns)
        if len(log.errors) >= MAX_ERRORS:
            log.errors[MAX_ERRORS:] = ["there may be more errors; the rest was not read"]
            break
    return _checked(log)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}, expected a CSV file") from None
    if len(content) > MAX_BYTES:
        raise TraceError(f"{path}: larger than {MAX_BYTES // 1_000_000} MB; split it by weeks")
    for beginning, what in _OTHER_FILES:
        if content.lstrip(b" \t\r\n\xef\xbb\xbf").startswith(beginning):
            raise TraceError(f"{path}: expected a CSV file, but it is {what}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TraceError(f"{path}:{line}: not UTF-8 text, expected a CSV file") from None


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of every row that is not blank. Raises TraceError."""
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise TraceError(f"{path}:{reader.line_num}: {error}, expected a CSV file") from None


def _columns(path: Path, rows: Iterator[tuple[int, list[str]]]) -> tuple[int, tuple[int, int]]:
    """Return the number of columns, and the indexes of start and end. Raises TraceError."""
    line, header = next(rows, (0, []))
    if not header:
        raise TraceError(f"{path}: empty, expected a header line with {','.join(COLUMNS)}")
    names = [cell.strip().lower() for cell in header]
    for name in COLUMNS:
        if names.count(name) != 1:
            found = "missing" if name not in names else "duplicate"
            raise TraceError(
                f"{path}:{line}: column {name!r} is {found}, expected a header line with "
                f"{','.join(COLUMNS)}, got {_shown(','.join(names))}{_separator(names)}"
            )
    return len(header), (names.index("start"), names.index("end"))


def _separator(names: list[str]) -> str:
    """Return what to change if the columns are not separated by commas."""
    for sign, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(names) == 1 and sign in names[0]:
            return f" (separated by {called}; export it with commas)"
    return ""


def _read(log: _Log, line: int, row: list[str], header: int, columns: tuple[int, int]) -> None:
    """Add the session of a row to the log, or what is wrong with it."""
    where = f"{log.path}:{line}"
    if any(cell.strip() for cell in row[header:]):
        log.errors.append(
            f"{where}: {len(row)} cells for {header} columns, expected decimal points in numbers"
            " and quotes around cells with commas"
        )
        return
    times: list[TraceTime] = []
    for name, index in zip(COLUMNS, columns, strict=True):
        cell = row[index].strip() if index < len(row) else ""
        try:
            time = read_time(cell, log.clock)
        except ValueError as error:
            log.errors.append(f"{where}: {name}: {_shown(cell)}: {error}")
        else:
            times.append(time)
            log.first.setdefault(time.kind, line)
    if len(times) == len(COLUMNS):
        start, end = times[0].at, end_after(*times)
        if end >= start:
            log.sessions.append(Session(start, max(end, start + SHORTEST)))
            log.lines.append(line)
            return
        cell = _shown(row[columns[1]].strip())
        zone = " (the start does not exist in the time zone; check the zone)"
        log.errors.append(
            f"{where}: end: {cell} is {start - end:g} s before start, expected it after start"
            + zone * times[0].skipped
        )


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else f"{cell[:40]}…")


def _checked(log: _Log) -> Trace:
    """Return the trace of a log. Raises TraceError if it has errors."""
    if log.errors:
        raise TraceError("\n".join(log.errors))
    if not log.sessions:
        raise TraceError(f"{log.path}: no sessions, expected lines below the header")
    _refuse_mixed_times(log)
    _refuse_day_numbers(log)
    trace = trace_of(log.path.name, log.sessions, log.clock.notes())
    if trace.end - trace.start > LONGEST:
        raise TraceError(_too_long(log, trace))
    return trace


def _refuse_mixed_times(log: _Log) -> None:
    """Raise TraceError if some times have an offset from UTC and others have none."""
    line = log.first.get(TimeKind.LOCAL)
    for kind in (TimeKind.OFFSET, TimeKind.NUMBER):
        if line is not None and kind in log.first:
            raise TraceError(
                f"{log.path}:{line}: a time without an offset, but line {log.first[kind]} has"
                f" {kind.value}, expected an offset such as +01:00 or Z in all times, or in none"
            )


def _refuse_day_numbers(log: _Log) -> None:
    """Raise TraceError for day numbers, which as seconds would be a few hours of 1970."""
    low, high = DAY_NUMBERS
    alike = sum(
        low <= start and end <= high and end - start <= LONGEST_IN_DAYS
        for start, end in log.sessions
    )
    if log.first.keys() == {TimeKind.NUMBER} and 2 * alike > len(log.sessions):
        raise TraceError(
            f"{log.path}:{log.lines[0]}: start: {log.sessions[0].start:.10g}: looks like the day"
            " number of a spreadsheet, expected a time; format both columns as"
            " yyyy-mm-dd hh:mm:ss and export again (if they are seconds, add 1000000 to each)"
        )


def _too_long(log: _Log, trace: Trace) -> str:
    """Return the error of a trace that is too long, with the lines of its first and last time."""
    ends = [session.end for session in log.sessions]
    first = log.lines[min(range(len(ends)), key=lambda n: log.sessions[n].start)]
    last = log.lines[max(range(len(ends)), key=ends.__getitem__)]
    begin, end = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}" for at in (trace.start, trace.end))
    return (
        f"{log.path}: from {begin} (line {first}) to {end} (line {last}),"
        " expected a span of at most 366 days"
    )
