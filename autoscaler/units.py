"""The notations of a policy file for durations, percentages, times and days."""

from __future__ import annotations

import math
import re
from datetime import time
from decimal import Decimal
from typing import Any, Literal, NamedTuple

_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?",
    re.ASCII,
)
_SECONDS = (86_400, 3_600, 60, 1)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m?)", re.ASCII)
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

LONGEST_SECONDS = 366 * 86_400
LARGEST_PERCENT = 1_000_000.0


def seconds(value: Any) -> float:
    """Return a duration such as `90s`, `5m` or `1h30m` in seconds. Raises ValueError."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise ValueError("expected a duration with its unit, such as 30s, 5m, 4h or 1h30m")
    total = sum(
        float(part) * unit for part, unit in zip(match.groups(), _SECONDS, strict=True) if part
    )
    if total > LONGEST_SECONDS:
        raise ValueError("expected a duration of at most 366d")
    return total


def duration_text(value: float) -> str:
    """Return seconds as people write them: 5400 is `1h30m`, and 0.25 is `0.25s`, unrounded."""
    if value != int(value):
        return f"{_plain(value)}s"
    rest, parts = int(value), []
    for unit, name in zip(_SECONDS, "dhms", strict=True):
        count, rest = divmod(rest, unit)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"


def percent_text(value: float) -> str:
    """Return a percentage as people write it: 70.0 is `70%`, unrounded."""
    return f"{_plain(value)}%"


def _plain(value: float) -> str:
    """Return the shortest exact text of a number without an exponent: 1e-05 is `0.00001`."""
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def percent(value: Any) -> float:
    """Return `70%` as 70.0.

    Raises ValueError, also for a bare number: 0.7 could mean 0.7 % or 70 %.
    """
    match = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected a percentage, such as 70%")
    number = float(match.group(1))
    if number > LARGEST_PERCENT:
        raise ValueError(f"expected a percentage of at most {LARGEST_PERCENT:.0f}%")
    return number


def clock(value: Any) -> time:
    """Return `08:00` as a time of day. Raises ValueError."""
    if isinstance(value, time):
        return value
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if value == "24:00":
        raise ValueError('expected "00:00" for midnight, also at the end of a day')
    if match is None:
        raise ValueError('expected a time of day in quotes, such as "08:00"')
    return time(int(match.group(1)), int(match.group(2)))


class Share(NamedTuple):
    """A percentage of another value, in percent."""

    percent: float


def whole_percent(value: Any) -> float:
    """Return `70%` as 70.0. Raises ValueError, also for fractions, which HPA does not have."""
    number = percent(value)
    if number < 1 or number != int(number):
        raise ValueError("expected a whole percentage of at least 1%, such as 70%")
    return number


def ratio(value: Any) -> float:
    """Return `0.1`, or the Kubernetes quantity `100m`, as 0.1. Raises ValueError."""
    number = value
    if isinstance(value, str) and (match := _QUANTITY.fullmatch(value)):
        number = float(match.group(1)) / (1_000 if match.group(2) else 1)
    if isinstance(number, int | float) and not isinstance(value, bool) and 0 <= number < math.inf:
        return float(number)
    raise ValueError("expected a number of at least 0, such as 0.1, or a quantity, such as 100m")


def deadline(value: Any) -> float | None:
    """Return a duration in seconds, or None for `never`. Raises ValueError."""
    if value == "never":
        return None
    try:
        return seconds(value)
    except ValueError as error:
        raise ValueError(f"{error}, or never") from None


def days(value: Any) -> tuple[str, ...]:
    """Return the days of `mon-fri`, `sat,sun`, `fri-mon` or a list of these. Raises ValueError."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise ValueError("expected days such as mon-fri, sat,sun or [mon, wed]")
    return tuple(day for part in parts for day in _span(part))


def _span(part: Any) -> list[str]:
    first, dash, last = part.strip().lower().partition("-") if isinstance(part, str) else ("",) * 3
    if first not in DAYS or (dash and last not in DAYS):
        raise ValueError("expected days such as mon-fri, sat,sun or [mon, wed]")
    start, end = DAYS.index(first), DAYS.index(last or first)
    return [DAYS[i % 7] for i in range(start, end + 1 + (7 if end < start else 0))]


def share(value: Any) -> Share:
    """Return `25%` as a share of another value. Raises ValueError."""
    return value if isinstance(value, Share) else Share(percent(value))


def counted(count: int, noun: str) -> str:
    """Return the number with its noun, such as `1 pod` and `2 pods`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
