"""The times of a trace: dates, or numbers since 1970; those without an offset are in a zone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import Enum
from typing import NamedTuple

from autoscaler.adapters.traces.dates import DateOrder, read_date

# The year 2200 in seconds. Larger numbers are in milliseconds or finer units.
LATEST = 7_258_118_400.0
_NUMBER = re.compile(r"\d{1,30}(\.\d{1,9})?", re.ASCII)
_SHORTENED = re.compile(r"\d([.,]\d+)?[eE][+-]?\d+", re.ASCII)
# 20260112, 202601120930 and 20260112093000
_RUN_TOGETHER = re.compile(
    r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(([01]\d|2[0-3])[0-5]\d([0-5]\d)?)?", re.ASCII
)
# Units of numbers: the factor of a second, and the name.
_UNITS = (
    (1, "seconds"),
    (1_000, "milliseconds"),
    (1_000_000, "microseconds"),
    (1_000_000_000, "nanoseconds"),
)
# What stands for no time in exports of databases and of programs in Go, Python and JavaScript.
NO_TIME = frozenset(
    ("", "-", "--", "\u2013", "null", "none", "nan", "nat", "n/a", "na", "nil", "\\n", "undefined")
)
_NEVER = ("0001-01-01", "9999-12-31")
# 24:00, which is 00:00 of the next day.
_END_OF_DAY = re.compile(
    r"(?:(?<=[T,\s])|(?<=\d{4}:))24:00(:00([.,]0{1,9})?)?(?![\d:.,])", re.ASCII
)
_OFFSET_AFTER_SPACE = re.compile(
    r"(.*\d) ?(?:(UTC|GMT|Z|z)|([+-]\d\d:?\d\d))(?:\[[\w/+-]+\])?", re.ASCII
)
_EXPECTED = "expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds"


class TimeKind(Enum):
    """The kind of a time: seconds since 1970, with an offset from UTC, or local without one."""

    NUMBER = "a number"
    OFFSET = "a time with an offset"
    LOCAL = "a time without an offset"


class TraceTime(NamedTuple):
    """A time in Unix seconds.

    again: the second of two such times, if a local time occurs twice. skipped: whether a local time
    does not exist, because the clock was set forward.
    """

    at: float
    kind: TimeKind
    again: float | None = None
    skipped: bool = False


class LocalClock:
    """Reads times without an offset in one zone, and records ambiguous ones.

    zone: None if it is unknown; then no such time can be read. why: where the zone comes from, or
    why there is none, for messages.
    """

    def __init__(self, zone: tzinfo | None = UTC, why: str = "as no other zone is given") -> None:
        self._zone, self._why = zone, why
        self._read = 0
        self._skipped: list[date] = []
        self._repeated: list[date] = []

    def read(self, moment: datetime) -> TraceTime:
        """Return a time without an offset in the zone. Raises ValueError without a zone.

        A time in an hour that the clock skips is that much later. Of a time that occurs twice, it
        is the first.
        """
        if self._zone is None:
            raise ValueError(f"no offset, and {self._why}; set --timezone to one of them")
        self._read += 1
        first, second = (moment.replace(tzinfo=self._zone, fold=fold) for fold in (0, 1))
        before, after = first.utcoffset(), second.utcoffset()
        if before is None or after is None or before == after:
            return TraceTime(first.timestamp(), TimeKind.LOCAL)
        if before < after:
            self._skipped.append(moment.date())
            return TraceTime(first.timestamp(), TimeKind.LOCAL, skipped=True)
        self._repeated.append(moment.date())
        return TraceTime(first.timestamp(), TimeKind.LOCAL, second.timestamp())

    def notes(self) -> str:
        """Return how times without an offset were interpreted, or "" if there were none."""
        if not self._read:
            return ""
        notes = [f"Its times have no offset and are interpreted as {self._zone}, {self._why}."]
        if self._skipped:
            notes.append(
                f"{_counted(self._skipped)} in an hour that does not exist in this zone,"
                " and interpreted as later by the skipped time; check the zone."
            )
        if self._repeated:
            notes.append(
                f"{_counted(self._repeated)} in an hour that occurs twice in this zone, and"
                " interpreted as the first, or as the second for an end before its start."
            )
        return " ".join(notes)


def _counted(dates: list[date]) -> str:
    days = sorted({str(each) for each in dates})
    shown = ", ".join(days[:3]) + (" and others" if len(days) > 3 else "")
    return f"{len(dates):,} {'is' if len(dates) == 1 else 'are'} on {shown}"


def end_after(start: TraceTime, end: TraceTime) -> float:
    """Return the end of a session; of two possible ends, the one after its start."""
    if end.at < start.at and end.again is not None:
        return end.again
    return end.at


class TimeReader:
    """Reads the times of a file, and records what kinds of them there are.

    first: the first line that has a time of each kind. units: names of the units of its numbers.
    """

    def __init__(
        self, clock: LocalClock, order: DateOrder | None = None, *, decimal_comma: bool = False
    ) -> None:
        self.first: dict[TimeKind, int] = {}
        self.units: set[str] = set()
        self._clock, self._order = clock, order
        self._decimal_comma = decimal_comma

    def read(self, cell: str, line: int) -> TraceTime:
        """Return a time. Raises ValueError with what was expected."""
        if cell[4:5] == "-" and cell[10:11] in ("T", " "):
            time = self._moment(cell)
        else:
            time = self._other(cell)
        if not 0 <= time.at <= LATEST:
            raise ValueError("expected a time from 1970 to 2200")
        if time.kind not in self.first:
            self.first[time.kind] = line
        return time

    def notes(self) -> str:
        """Return how numbers and times without an offset were interpreted, or ""."""
        finer = sorted(self.units - {"seconds"})
        units = f"Its numbers are {' and '.join(finer)} since 1970." if finer else ""
        order = f"Its dates are {self._order.value}." if self._order else ""
        return " ".join(filter(None, (units, order, self._clock.notes())))

    def _other(self, cell: str) -> TraceTime:
        if is_open(cell):
            raise ValueError(f"no time, {_EXPECTED}")
        if _RUN_TOGETHER.fullmatch(cell):
            raise ValueError(
                "a date without separators, expected one such as 2026-01-12T09:30:00+01:00"
            )
        if _SHORTENED.fullmatch(cell):
            raise ValueError("a number with an exponent, expected all of its digits")
        number = cell.replace(",", ".") if self._decimal_comma else cell
        return self._number(number) if _NUMBER.fullmatch(number) else self._moment(cell)

    def _number(self, cell: str) -> TraceTime:
        at = float(cell)
        for factor, unit in _UNITS:
            if at <= LATEST * factor:
                self.units.add(unit)
                return TraceTime(at / factor, TimeKind.NUMBER)
        raise ValueError("expected seconds since 1970, and a time up to 2200")

    def _moment(self, cell: str) -> TraceTime:
        cell, ends_day = _END_OF_DAY.subn("00:00", cell) if "24:00" in cell else (cell, 0)
        moment = _iso(cell) or read_date(cell, self._order)
        if moment is None:
            raise ValueError(_lacking(cell))
        if not 1970 <= moment.year <= 2200:
            raise ValueError("expected a time from 1970 to 2200")
        moment += timedelta(days=ends_day)
        if moment.tzinfo:
            return TraceTime(moment.timestamp(), TimeKind.OFFSET)
        return self._clock.read(moment)


def is_open(cell: str) -> bool:
    """Return whether a cell stands for no time, such as the end of a session that still lasts."""
    return cell.lower() in NO_TIME or cell.startswith(_NEVER)


def _lacking(cell: str) -> str:
    """Return what is wrong with a cell that is no time."""
    if re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?( ?[AaPp][Mm])?", cell):
        return "a time without a date, expected both in one cell, such as 2026-01-12T09:30"
    if re.match(r"\d{1,2}([/.-])\d{1,2}\1\d\d(\D|$)", cell):
        return "a year of two digits, expected four; export the dates as yyyy-mm-dd"
    if zone := re.search(r"\d ?([A-Z]{2,5})$", cell):
        return f"{zone[1]} is no offset, expected one such as +01:00, or none and --timezone"
    return _EXPECTED


def _iso(cell: str) -> datetime | None:
    try:
        return datetime.fromisoformat(cell)
    except ValueError:
        pass
    if match := _OFFSET_AFTER_SPACE.fullmatch(cell):
        try:
            return datetime.fromisoformat(match[1] + (match[3] or "+00:00"))
        except ValueError:
            pass
    return None
