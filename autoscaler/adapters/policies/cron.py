"""The cron triggers of KEDA as windows of a schedule."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from autoscaler.units import DAYS, days

_CRON = re.compile(r"(\d{1,2}) (\d{1,2}) \* \* (\S+)", re.ASCII)
_DAYS = re.compile(r"[0-7](-[0-7])?(,[0-7](-[0-7])?)*", re.ASCII)
_WHOLE = re.compile(r"[1-9]\d{0,8}", re.ASCII)


def window(cron: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the window of a cron trigger that opens and closes daily; None for any other."""
    start, end = (_CRON.fullmatch(" ".join(str(cron.get(key)).split())) for key in ("start", "end"))
    replicas = str(cron.get("desiredReplicas", 1))
    if start is None or end is None or not _WHOLE.fullmatch(replicas):
        return None
    (opens, first), (closes, last) = ((_clock(each), [*_days(each[3])]) for each in (start, end))
    # The day on which a window over midnight closes is the next one.
    overnight = 0 if opens < closes else 1
    closing = {DAYS[(DAYS.index(day) + overnight) % 7] for day in first}
    if not first or closing != set(last):
        return None
    return {
        "days": _shortest(list(dict.fromkeys(first))),
        "from": opens,
        "to": closes,
        "timezone": cron.get("timezone", "UTC"),
        "min": int(replicas),
    }


def _clock(field: re.Match[str]) -> str:
    return f"{int(field[2]):02}:{int(field[1]):02}"


def _shortest(chosen: list[str]) -> str | list[str]:
    """Return consecutive days of a week as people write them, such as `mon-fri`."""
    start = DAYS.index(chosen[0])
    is_span = len(chosen) > 1 and chosen == [*DAYS[start : start + len(chosen)]]
    return f"{chosen[0]}-{chosen[-1]}" if is_span else chosen


def _days(field: str) -> Iterator[str]:
    """Yield the days of a cron field such as `1-5`, whose 0 and 7 are Sunday, or `MON-FRI`."""
    if field == "*":
        yield from DAYS
    elif not _DAYS.fullmatch(field):
        with suppress(ValueError):
            yield from days(field)
    else:
        for item in field.split(","):
            first, _, last = item.partition("-")
            for number in range(int(first), int(last or first) + 1):
                yield DAYS[number - 1]
