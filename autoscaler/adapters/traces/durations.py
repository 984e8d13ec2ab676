"""Durations in the cells of a trace: 00:12:34, 12.5 min, 1h30m, PT12M34S or a number."""

from __future__ import annotations

import re

# Seconds of each unit, by its names.
UNITS: dict[str, float] = {
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3_600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
}
_NUMBER = re.compile(r"\d{1,15}(\.\d{1,12})?", re.ASCII)
_PART = re.compile(r"(\d{1,15}(?:\.\d{1,12})?)\s*([a-z]+)[\s,]*", re.ASCII)
_CLOCK = re.compile(
    r"(?:(\d{1,4}) days?,? )?(\d{1,5}):([0-5]?\d):([0-5]?\d(?:\.\d{1,9})?)", re.ASCII
)
_ISO = re.compile(
    r"P(?:(\d+)D)?(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII
)
_SECONDS = (86_400.0, 3_600.0, 60.0, 1.0)
_EXPECTED = "expected a duration such as 00:12:34, 12.5 min or 754"


def read_duration(cell: str, unit: float = 1.0) -> float:
    """Return a duration in seconds. Raises ValueError with what was expected.

    unit: the seconds of a plain number.
    """
    if _NUMBER.fullmatch(cell):
        return float(cell) * unit
    if match := _CLOCK.fullmatch(cell) or (_ISO.fullmatch(cell) if len(cell) > 2 else None):
        return sum(
            float(part) * each for part, each in zip(match.groups(), _SECONDS, strict=True) if part
        )
    if re.fullmatch(r"\d+:\d+", cell):
        raise ValueError(f"hours and minutes, or minutes and seconds? {_EXPECTED}")
    if cell.startswith("-"):
        raise ValueError("negative, expected a duration of at least 0")
    return _words(cell.lower())


def _words(cell: str) -> float:
    """Return the sum of numbers with their units. Raises ValueError."""
    total, at = 0.0, 0
    while at < len(cell):
        part = _PART.match(cell, at)
        if part is None or part[2] not in UNITS:
            raise ValueError(_EXPECTED)
        total += float(part[1]) * UNITS[part[2]]
        at = part.end()
    return total
