"""Dates as people and spreadsheets write them: 13/01/2026 9:30 PM, 12 Jan 2026, 2026/01/12.

Whether 03/04/2026 is in March or in April is never guessed: somebody says it, or another date of
the file makes it certain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum


class DateOrder(Enum):
    """The order of day and month in dates such as 03/04/2026."""

    DAY_FIRST = "day-first"
    MONTH_FIRST = "month-first"


class OrderError(ValueError):
    """The order of day and month is unknown. line: of a date that shows it."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_CLOCK = (
    r"(?:[T,:\s]+(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<part>\d{1,9}))?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?)?"
    r"\s*(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d)?"
)
_NUMBERS = re.compile(
    rf"(?P<a>\d{{1,2}})([/.-])(?P<b>\d{{1,2}})\2(?P<year>\d{{4}}){_CLOCK}", re.ASCII
)
_YEAR_FIRST = re.compile(
    rf"(?P<year>\d{{4}})([-/.])(?P<month>\d{{1,2}})\2(?P<day>\d{{1,2}}){_CLOCK}", re.ASCII
)
_DAY_OF_WEEK = r"(?:[A-Za-z]{3,9},?\s+)?"
_NAMED = (
    re.compile(
        rf"{_DAY_OF_WEEK}(?P<day>\d{{1,2}})[\s/.-]+(?P<name>[A-Za-z]{{3,9}})\.?[\s/,-]+"
        rf"(?P<year>\d{{4}}){_CLOCK}",
        re.ASCII,
    ),
    re.compile(
        rf"{_DAY_OF_WEEK}(?P<name>[A-Za-z]{{3,9}})\.?\s+(?P<day>\d{{1,2}}),?\s+"
        rf"(?P<year>\d{{4}}){_CLOCK}",
        re.ASCII,
    ),
)


def read_date(cell: str, order: DateOrder | None) -> datetime | None:
    """Return a date with its time, or None if the cell has another form.

    Raises ValueError for a date that does not exist, or of which the order is unknown.
    """
    if match := _NUMBERS.fullmatch(cell):
        if order is None and match["a"] != match["b"]:
            raise ValueError("day or month first? set --dates day-first or --dates month-first")
        day, month = int(match["a"]), int(match["b"])
        if order is DateOrder.MONTH_FIRST:
            day, month = month, day
        return _datetime(match, month, day)
    if match := _YEAR_FIRST.fullmatch(cell):
        return _datetime(match, int(match["month"]), int(match["day"]))
    for named in _NAMED:
        if (match := named.fullmatch(cell)) and match["name"][:3].lower() in _MONTHS:
            month = _MONTHS.index(match["name"][:3].lower()) + 1
            return _datetime(match, month, int(match["day"]))
    return None


def is_numbered(cell: str) -> bool:
    """Return whether a cell is a date of which day and month are numbers, such as 3/4/2026."""
    return _NUMBERS.fullmatch(cell.strip()) is not None


def find_order(cells: Iterable[tuple[int, str]]) -> DateOrder | None:
    """Return the order of day and month that the cells make certain; None without such dates.

    cells: each with its line. Raises OrderError if they leave it open, or contradict each other.
    """
    open_at, seen = 0, dict[DateOrder, int]()
    for line, cell in cells:
        if match := _NUMBERS.fullmatch(cell.strip()):
            if not open_at and match["a"] != match["b"]:
                open_at = line
            if int(match["a"]) > 12:
                seen.setdefault(DateOrder.DAY_FIRST, line)
            elif int(match["b"]) > 12:
                seen.setdefault(DateOrder.MONTH_FIRST, line)
    if len(seen) == 2:
        day, month = seen[DateOrder.DAY_FIRST], seen[DateOrder.MONTH_FIRST]
        raise OrderError(
            max(day, month),
            f"the day is first in line {day}, and the month in line {month}, expected one order;"
            " export the dates as yyyy-mm-dd",
        )
    if open_at and not seen:
        raise OrderError(
            open_at,
            "no date shows whether the day or the month is first;"
            " set --dates day-first or --dates month-first",
        )
    return next(iter(seen), None)


def _datetime(match: re.Match[str], month: int, day: int) -> datetime:
    hour = int(match["hour"] or 0)
    if match["half"]:
        if not 1 <= hour <= 12:
            raise ValueError("expected an hour from 1 to 12 before AM or PM")
        hour = hour % 12 + 12 * (match["half"] in "pP")
    microsecond = int((match["part"] or "0")[:6].ljust(6, "0"))
    try:
        return datetime(
            int(match["year"]),
            month,
            day,
            hour,
            int(match["minute"] or 0),
            int(match["second"] or 0),
            microsecond,
            tzinfo=_zone(match["zone"]),
        )
    except ValueError as error:
        raise ValueError(f"{error}, expected a date that exists") from None


def _zone(text: str | None) -> timezone | None:
    if text is None:
        return None
    if not text.startswith(("+", "-")):
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-offset if text.startswith("-") else offset)
