"""The times of a trace: ISO 8601 or seconds; those without an offset are in a given time zone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, tzinfo
from enum import Enum
from typing import NamedTuple

# The year 2200 in seconds. Larger numbers are in milliseconds or finer units.
LATEST = 7_258_118_400.0
_NUMBER = re.compile(r"\d{1,30}(\.\d{1,9})?", re.ASCII)
_SHORTENED = re.compile(r"\d([.,]\d+)?[eE]\+?\d+", re.ASCII)
# 20260112, 202601120930 and 20260112093000
_RUN_TOGETHER = re.compile(
    r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(([01]\d|2[0-3])[0-5]\d([0-5]\d)?)?", re.ASCII
)
_FINER = {13: ("milliseconds", "1,000"), 16: ("microseconds", "1,000,000")}
_FINER[19] = ("nanoseconds", "1,000,000,000")
_ISO = "expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds"


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


def read_time(cell: str, clock: LocalClock) -> TraceTime:
    """Return a time in ISO 8601 or seconds. Raises ValueError with what was expected."""
    if not cell:
        raise ValueError("expected a time; leave out sessions that have not ended")
    if _RUN_TOGETHER.fullmatch(cell):
        raise ValueError(
            "a date without separators, expected one such as 2026-01-12T09:30:00+01:00"
        )
    if _SHORTENED.fullmatch(cell):
        raise ValueError("a number with an exponent, expected all of its digits")
    time = _number(cell) if _NUMBER.fullmatch(cell) else _moment(cell, clock)
    if not 0 <= time.at <= LATEST:
        raise ValueError("expected a time from 1970 to 2200")
    return time


def _number(cell: str) -> TraceTime:
    at = float(cell)
    if at > LATEST:
        unit, by = _FINER.get(len(cell.partition(".")[0]), ("finer units than seconds", "1,000"))
        raise ValueError(f"{unit}, expected seconds since 1970; divide by {by}")
    return TraceTime(at, TimeKind.NUMBER)


def _moment(cell: str, clock: LocalClock) -> TraceTime:
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        raise ValueError(_ISO) from None
    if not 1970 <= moment.year <= 2200:
        raise ValueError("expected a time from 1970 to 2200")
    return TraceTime(moment.timestamp(), TimeKind.OFFSET) if moment.tzinfo else clock.read(moment)
