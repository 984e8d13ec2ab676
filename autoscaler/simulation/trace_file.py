"""Reads recorded sessions from a CSV file and says, line by line, what is wrong with it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from autoscaler.errors import AutoscalerError
from autoscaler.simulation.trace import Session, Trace, trace_of

COLUMNS = ("start", "end")
MAX_BYTES = 100_000_000
MAX_SESSIONS = 1_000_000
MAX_ERRORS = 20
# As long as the longest duration of a policy; a replay decides 2 million times in it.
LONGEST = 366 * 86_400.0
# A session within one second of a log of whole seconds.
SHORTEST = 1.0
_NUMBER = re.compile(r"\d{1,15}(\.\d{1,9})?")
# The year 2200 in seconds. In milliseconds it would be February 1970: so those are told apart.
LATEST = 7_258_118_400.0


class TraceError(AutoscalerError):
    """A trace that cannot be used: up to 20 lines for the reader, each naming file and line."""


def load_trace(path: Path, limit: int = MAX_SESSIONS) -> Trace:
    """The sessions of a CSV file with the columns `start` and `end`.

    Times are ISO 8601 (without an offset: UTC) or seconds. A session whose end is its start lasts
    a second. limit: of sessions. Raises TraceError with every error, at most 20.
    """
    rows = _rows(path, _text(path))
    columns = _columns(path, rows)
    sessions: list[Session] = []
    errors: list[str] = []
    for line, row in rows:
        if len(sessions) == limit:
            errors.append(f"{path}:{line}: expected at most {limit:,} sessions")
            break
        session = _session(f"{path}:{line}", row, columns)
        if isinstance(session, Session):
            sessions.append(session)
        else:
            errors += session
            if len(errors) >= MAX_ERRORS:
                errors[MAX_ERRORS:] = ["and perhaps more: the rest was not read"]
                break
    return _checked(path, sessions, errors)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}: expected a CSV file") from None
    if len(content) > MAX_BYTES:
        raise TraceError(f"{path}: larger than {MAX_BYTES // 1_000_000} MB: split it by weeks")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TraceError(f"{path}:{line}: not UTF-8 text: expected a CSV file") from None


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row that is not blank. Raises TraceError."""
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise TraceError(f"{path}:{reader.line_num}: {error}: expected a CSV file") from None


def _columns(path: Path, rows: Iterator[tuple[int, list[str]]]) -> tuple[int, int]:
    """Where start and end are. Raises TraceError."""
    line, header = next(rows, (0, []))
    if not header:
        raise TraceError(f"{path}: empty: expected a header line with {','.join(COLUMNS)}")
    names = [cell.strip().lower() for cell in header]
    for name in COLUMNS:
        if names.count(name) != 1:
            found = "missing" if name not in names else "there twice"
            raise TraceError(
                f"{path}:{line}: column {name!r} is {found}: expected a header line with "
                f"{','.join(COLUMNS)}, got {_shown(','.join(names))}"
            )
    return names.index("start"), names.index("end")


def _session(where: str, row: list[str], columns: tuple[int, int]) -> Session | list[str]:
    """The session of a row, or what is wrong with it."""
    times: list[float] = []
    errors = []
    for name, index in zip(COLUMNS, columns, strict=True):
        cell = row[index].strip() if index < len(row) else ""
        try:
            times.append(_time(cell))
        except ValueError as error:
            errors.append(f"{where}: {name}: {_shown(cell)}: {error}")
    if errors:
        return errors
    start, end = times
    if end < start:
        cell = _shown(row[columns[1]].strip())
        return [f"{where}: end: {cell} is {start - end:g} s before start: expected it after start"]
    return Session(start, max(end, start + SHORTEST))


def _time(cell: str) -> float:
    """ISO 8601 or seconds as Unix seconds. Raises ValueError saying what was expected."""
    at = float(cell) if _NUMBER.fullmatch(cell) else _iso_time(cell)
    if not 0 <= at <= LATEST:
        raise ValueError("expected a time from 1970 to 2200 (in seconds, not milliseconds)")
    return at


def _iso_time(cell: str) -> float:
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        wanted = "expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds"
        raise ValueError(wanted) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else f"{cell[:40]}…")


def _checked(path: Path, sessions: list[Session], errors: list[str]) -> Trace:
    if errors:
        raise TraceError("\n".join(errors))
    if not sessions:
        raise TraceError(f"{path}: no session: expected lines below the header")
    trace = trace_of(path.name, sessions)
    if trace.end - trace.start > LONGEST:
        first, last = (
            f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}" for at in (trace.start, trace.end)
        )
        raise TraceError(f"{path}: from {first} to {last}: expected a span of at most 366 days")
    return trace
