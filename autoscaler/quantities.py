"""The small notations of a policy file: durations, percentages and times of day."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?"
)
_SECONDS = (86_400, 3_600, 60, 1)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")

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
    """Seconds as a person writes them: 5400 is `1h30m`."""
    rest, parts = value, []
    for unit, name in zip(_SECONDS[:3], "dhm", strict=True):
        count, rest = divmod(rest, unit)
        if count:
            parts.append(f"{count:.0f}{name}")
    if rest or not parts:
        parts.append(f"{rest:g}s")
    return "".join(parts)


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


def _known(value: Any, parse: Any) -> Any:
    return value if isinstance(value, float) else parse(value)


Duration = Annotated[
    float,
    BeforeValidator(lambda value: _known(value, seconds)),
    PlainSerializer(duration_text, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(\d+(\.\d+)?d)?(\d+(\.\d+)?h)?(\d+(\.\d+)?m)?(\d+(\.\d+)?s)?$",
            "examples": ["30s", "5m", "1h30m"],
        }
    ),
]
Percent = Annotated[
    float,
    BeforeValidator(lambda value: _known(value, percent)),
    PlainSerializer(lambda value: f"{value:g}%", when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$", "examples": ["70%", "0.1%"]}
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
