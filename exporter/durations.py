"""Durations with units, as on the command line: 30s, 5m, 4h, 1h30m."""

from __future__ import annotations

import re

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
PATTERN = re.compile(r"(\d+d)?(\d+h)?(\d+m)?(\d+s)?")


def seconds(value: str) -> float:
    """Return a duration such as `1h30m` in seconds. Raises ValueError if a unit is missing."""
    match = PATTERN.fullmatch(value)
    if match is None or not value:
        raise ValueError(
            f"{value!r} is not a duration; expected a number with its unit, such as 30s, 5m or 4h"
        )
    return float(sum(int(part[:-1]) * UNITS[part[-1]] for part in match.groups() if part))


def duration_text(value: float) -> str:
    """Return whole seconds as people write them: 5400 is `1h30m`."""
    rest, parts = int(value), []
    for unit, size in UNITS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
