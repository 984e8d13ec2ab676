"""The small notations of a policy file: durations, percentages, times and days."""

from __future__ import annotations

import math
import re
from datetime import time
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, WithJsonSchema

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


def seconds(value: Any) -> float:
    """A duration such as `90s`, `5m` or `1h30m` in seconds. Raises ValueError."""
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
    """Seconds as a person writes them: 5400 is `1h30m`, and 0.25 is `0.25s`, without rounding."""
    if value != int(value):
        return f"{_plain(value)}s"
    rest, parts = int(value), []
    for unit, name in zip(_SECONDS, "dhms", strict=True):
        count, rest = divmod(rest, unit)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"


def percent_text(value: float) -> str:
    """A percentage as a person writes it: 70.0 is `70%`, without rounding."""
    return f"{_plain(value)}%"


def _plain(value: float) -> str:
    """Without an exponent, as short as it reads back the same: 1e-05 is `0.00001`."""
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def percent(value: Any) -> float:
    """`70%` as 70.0. A bare number is refused: 0.7 could mean either. Raises ValueError."""
    match = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected a percentage, such as 70%")
    return float(match.group(1))


def clock(value: Any) -> time:
    """`08:00` as a time of day. Raises ValueError."""
    if isinstance(value, time):
        return value
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('expected a time of day in quotes, such as "08:00"')
    return time(int(match.group(1)), int(match.group(2)))


class Share(NamedTuple):
    """A percentage of something else, in percent."""

    percent: float


def whole_percent(value: Any) -> float:
    """`70%` as 70.0; HPA has no fractions. Raises ValueError."""
    number = percent(value)
    if number < 1 or number != int(number):
        raise ValueError("expected a whole percentage of at least 1%, such as 70%")
    return number


def ratio(value: Any) -> float:
    """`0.1` or the Kubernetes quantity `100m` as 0.1. Raises ValueError."""
    if isinstance(value, str) and (match := _QUANTITY.fullmatch(value)):
        return float(match.group(1)) / (1_000 if match.group(2) else 1)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    raise ValueError("expected a number of at least 0, such as 0.1, or a quantity, such as 100m")


def deadline(value: Any) -> float | None:
    """A duration in seconds, or None for `never`. Raises ValueError."""
    if value == "never":
        return None
    try:
        return seconds(value)
    except ValueError as error:
        raise ValueError(f"{error}, or never") from None


def days(value: Any) -> tuple[str, ...]:
    """`mon-fri`, `sat,sun`, `fri-mon` or a list of such as day names. Raises ValueError."""
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


def _share(value: Any) -> Share:
    return value if isinstance(value, Share) else Share(percent(value))


Duration = Annotated[
    float,
    BeforeValidator(seconds),
    PlainSerializer(duration_text, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 2,
            "pattern": r"^(\d+(\.\d+)?d)?(\d+(\.\d+)?h)?(\d+(\.\d+)?m)?(\d+(\.\d+)?s)?$",
            "examples": ["30s", "5m", "1h30m"],
        }
    ),
]
_PERCENT_SCHEMA = WithJsonSchema(
    {"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$", "examples": ["70%", "0.1%"]}
)
Percent = Annotated[
    float,
    BeforeValidator(percent),
    PlainSerializer(percent_text, when_used="json"),
    _PERCENT_SCHEMA,
]
WholePercent = Annotated[
    float,
    BeforeValidator(whole_percent),
    PlainSerializer(percent_text, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^[1-9]\d*(\.0+)?\s*%$", "examples": ["70%"]}),
]
SpareShare = Annotated[
    Share,
    PlainValidator(_share),
    PlainSerializer(lambda share: percent_text(share.percent), when_used="json"),
    _PERCENT_SCHEMA,
]
Ratio = Annotated[
    float,
    BeforeValidator(ratio),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": r"^\d+(\.\d+)?m?$"},
            ],
            "examples": [0.1, "100m"],
        }
    ),
]
ClockTime = Annotated[
    time,
    BeforeValidator(clock),
    PlainSerializer(lambda value: value.strftime("%H:%M"), when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d$", "examples": ["08:00"]}
    ),
]
Deadline = Annotated[
    float | None,
    BeforeValidator(deadline),
    PlainSerializer(
        lambda value: "never" if value is None else duration_text(value), when_used="json"
    ),
    WithJsonSchema({"type": "string", "examples": ["never", "4h"]}),
]
Days = Annotated[
    tuple[Day, ...],
    BeforeValidator(days),
    WithJsonSchema(
        {
            "type": ["string", "array"],
            "items": {"type": "string"},
            "examples": ["mon-fri", "sat,sun", ["mon", "wed"]],
        }
    ),
]
