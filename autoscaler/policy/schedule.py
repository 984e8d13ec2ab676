"""The calendar windows of a policy, and the contradictions between their bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from autoscaler.policy.fields import AtLeastOne, Model
from autoscaler.policy.metrics import Spare
from autoscaler.policy.notations import ClockTime, Days, Deadline
from autoscaler.policy.placement import Placement
from autoscaler.units import DAYS

DAY = 24 * 60
WEEK = 7 * DAY
# The year whose days show which offsets from UTC several zones have at the same time.
_SAMPLE_YEAR = 2027


class DrainInWindow(Model):
    """What a window changes of how pods are drained."""

    deadline: Deadline = Field(
        description="`drain.deadline` while the window is open; `never` switches it off."
    )


class Setting(NamedTuple):
    """A value that a window sets in place of the policy's own. text: as the file has it."""

    value: Any
    text: str


class Window(Model):
    """Other values at certain hours. If `to` is not after `from`, the window ends the next day."""

    days: Days = Field(
        default=DAYS,
        description="Days on which the window starts.",
        json_schema_extra={"default": "mon-sun"},
    )
    start: ClockTime = Field(
        alias="from", description='Time at which the window starts, in quotes, such as "08:00".'
    )
    end: ClockTime = Field(
        alias="to", description='Time at which the window ends, in quotes, such as "18:00".'
    )
    timezone: str = Field(
        default="UTC", description="Time zone of both times, such as Europe/Berlin."
    )
    min: AtLeastOne | None = Field(
        default=None, description="Minimum number of replicas while the window is open."
    )
    max: AtLeastOne | None = Field(
        default=None, description="Maximum number of replicas while the window is open."
    )
    spare: Spare | None = Field(
        default=None, description="`spare` of the session metric while the window is open."
    )
    placement: Placement | None = Field(
        default=None, description="`placement` while the window is open."
    )
    drain: DrainInWindow | None = Field(
        default=None, description="How pods are drained while the window is open."
    )

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("expected a time zone name, such as Europe/Berlin") from None
        return value

    @model_validator(mode="after")
    def _values(self) -> Window:
        values = (self.min, self.max, self.spare, self.placement, self.drain)
        if all(value is None for value in values):
            raise ValueError("expected min, max, spare, placement or drain")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max}): expected min <= max")
        return self

    @cached_property
    def settings(self) -> Mapping[str, Setting]:
        """What the window sets besides bounds, by its path in a policy file."""
        named = {"spare": self.spare, "placement": self.placement}
        found = {name: value for name, value in named.items() if value is not None}
        plain = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        settings = {name: Setting(value, _text(plain[name])) for name, value in found.items()}
        if self.drain is not None:
            settings["drain.deadline"] = Setting(self.drain.deadline, plain["drain"]["deadline"])
        return settings

    @property
    def hours(self) -> str:
        """From when to when the window is open, in words."""
        return f"{self.start:%H:%M} to {self.end:%H:%M} {self.timezone}"

    def is_open_at(self, weekday: int, clock: time) -> bool:
        """Return whether the window is open at a time of day in its zone; weekday 0 is Monday.

        A window over midnight belongs to the day on which it starts.
        """
        today = DAYS[weekday] in self.days
        if self.start < self.end:
            return today and self.start <= clock < self.end
        yesterday = DAYS[weekday - 1] in self.days
        return (today and clock >= self.start) or (yesterday and clock < self.end)


class Contradiction(NamedTuple):
    """One value of a policy that contradicts another one, with its path in the file."""

    path: tuple[str | int, ...]
    message: str


class ContradictionsError(ValueError):
    """All contradictions within a policy."""

    def __init__(self, found: Sequence[Contradiction]) -> None:
        super().__init__("; ".join(each.message for each in found))
        self.found = tuple(found)


class _Bound(NamedTuple):
    """A minimum or maximum number of replicas, and the window that sets it.

    window: None if the policy itself sets it.
    """

    replicas: int
    window: int | None = None


def contradictions(
    schedule: Sequence[Window], lowest: int, highest: int
) -> Iterator[Contradiction]:
    """Yield each bound of a window that contradicts another bound at some time of a week.

    lowest, highest: the policy's own bounds, which apply if no open window sets one. The hours in
    which only some of several zones have changed to or from summer time are not checked.
    """
    found: set[tuple[_Bound, _Bound]] = set()
    for offsets in _offsets(schedule):
        for moment in sorted(_edges(schedule, offsets)):
            current = _open_at(schedule, offsets, moment)
            floors = [_Bound(low, i) for i in current if (low := schedule[i].min) is not None]
            ceilings = [_Bound(high, i) for i in current if (high := schedule[i].max) is not None]
            for floor, ceiling in product(
                floors or [_Bound(lowest)], ceilings or [_Bound(highest)]
            ):
                if floor.replicas > ceiling.replicas and (floor, ceiling) not in found:
                    found.add((floor, ceiling))
                    yield _contradiction(schedule, floor, ceiling, moment, offsets)


def _contradiction(
    schedule: Sequence[Window], floor: _Bound, ceiling: _Bound, moment: int, offsets: Sequence[int]
) -> Contradiction:
    """Return the contradiction at the window's value, or at the min if two windows contradict."""
    if floor.window is None:
        return Contradiction(
            ("schedule", ceiling.window or 0, "max"),
            f"got {ceiling.replicas}, expected at least replicas.min ({floor.replicas});"
            " for fewer replicas, give this window a min of its own",
        )
    path = ("schedule", floor.window, "min")
    if ceiling.window is None:
        return Contradiction(
            path,
            f"got {floor.replicas}, expected at most replicas.max ({ceiling.replicas});"
            " for more replicas, give this window a max of its own",
        )
    day, minutes = divmod((moment + offsets[floor.window]) % WEEK, DAY)
    when = f"{DAYS[day]} {minutes // 60:02}:{minutes % 60:02} {schedule[floor.window].timezone}"
    return Contradiction(
        path,
        f"got {floor.replicas}, expected at most {ceiling.replicas}, the max of"
        f" schedule[{ceiling.window}]: both windows are open on {when}",
    )


def _offsets(schedule: Sequence[Window]) -> list[tuple[int, ...]]:
    """Return all combinations of offsets from UTC, in minutes, that the windows' zones have.

    If all windows have one zone, the offsets do not matter and are 0.
    """
    zones = {name: ZoneInfo(name) for name in dict.fromkeys(each.timezone for each in schedule)}
    if len(zones) < 2:
        return [(0,) * len(schedule)]
    first = datetime(_SAMPLE_YEAR, 1, 1, 12, tzinfo=UTC)
    seen: dict[tuple[int, ...], None] = {}
    for day in range(365):
        noon = first + timedelta(days=day)
        shifts = {name: _minutes_from_utc(noon, zone) for name, zone in zones.items()}
        seen[tuple(shifts[each.timezone] for each in schedule)] = None
    return list(seen)


def _minutes_from_utc(moment: datetime, zone: ZoneInfo) -> int:
    return int((moment.astimezone(zone).utcoffset() or timedelta()).total_seconds()) // 60


def _edges(schedule: Sequence[Window], offsets: Sequence[int]) -> set[int]:
    """Return the minutes of a week in UTC at which a window opens or closes."""
    return {
        (DAYS.index(day) * DAY + minute - offset + DAY * (edge == "end" and wraps)) % WEEK
        for window, offset in zip(schedule, offsets, strict=True)
        for wraps in (window.end <= window.start,)
        for edge, minute in (("start", _minute(window.start)), ("end", _minute(window.end)))
        for day in window.days
    }


def _text(value: Any) -> str:
    """Return a value as it is written in a line of YAML."""
    if not isinstance(value, dict):
        return str(value)
    return f"{{{', '.join(f'{key}: {each}' for key, each in value.items())}}}"


def _minute(clock: time) -> int:
    return clock.hour * 60 + clock.minute


def _open_at(schedule: Sequence[Window], offsets: Sequence[int], moment: int) -> list[int]:
    """Return the indexes of the windows that are open at a minute of the week in UTC."""
    current = []
    for index, (window, offset) in enumerate(zip(schedule, offsets, strict=True)):
        day, minutes = divmod((moment + offset) % WEEK, DAY)
        if window.is_open_at(day, time(minutes // 60, minutes % 60)):
            current.append(index)
    return current
