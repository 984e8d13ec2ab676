"""The policy of the hour: which of its calendar windows are open, and what they set."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from autoscaler.core.now import Now
from autoscaler.model import Reason, Step
from autoscaler.policy import Policy
from autoscaler.policy.schedule import Window

_DAY = 86_400.0


class Bounds(NamedTuple):
    """The active bounds, and whether a window of the schedule set them."""

    min: int
    max: int
    min_scheduled: bool = False
    max_scheduled: bool = False


class Effective(NamedTuple):
    """What a policy says at one time.

    policy: with the values that the open windows set, so that whoever reads it needs no schedule.
    told: which windows set them; "" if none does.
    """

    policy: Policy
    bounds: Bounds
    told: str = ""

    def steps(self, replicas: int) -> tuple[Step, ...]:
        """The step of a decision that says so. replicas: the present number."""
        return (Step(Reason.SCHEDULED_SETTINGS, replicas, self.told),) if self.told else ()


def effective(policy: Policy, now: Now) -> Effective:
    """Return what the policy says now: its own values, or those of the windows that are open."""
    if not policy.schedule:
        return Effective(policy, Bounds(policy.replicas.min, policy.replicas.max))
    moment = datetime.fromtimestamp(now.at, UTC)
    now.changes_at(now.at + min(_unchanged_for(window, moment) for window in policy.schedule))
    current = {i: each for i, each in enumerate(policy.schedule) if is_open(each, moment)}
    bounds = _bounds(policy, current.values())
    # Of several windows the last one in the list wins.
    winners = {name: index for index, window in current.items() for name in window.settings}
    if not winners:
        return Effective(policy, bounds)
    values = {name: current[index].settings[name].value for name, index in winners.items()}
    return Effective(policy.with_settings(values), bounds, _told(current, winners))


def _told(current: Mapping[int, Window], winners: Mapping[str, int]) -> str:
    """Name each window that sets something, with what it sets."""
    parts = []
    for index in sorted(set(winners.values())):
        window = current[index]
        named = [
            f"{name} {window.settings[name].text}" for name in winners if winners[name] == index
        ]
        parts.append(f"schedule[{index}] ({window.hours}) sets {', '.join(named)}")
    return "; ".join(parts)


def _bounds(policy: Policy, current: Collection[Window]) -> Bounds:
    """The policy's own bounds, or those of the open windows: highest min, lowest max.

    Policies whose bounds clash are refused, but for a few hours between several zones' changes to
    or from summer time. There the floor wins: users come before cost.
    """
    floors = [window.min for window in current if window.min is not None]
    ceilings = [window.max for window in current if window.max is not None]
    low = max(floors, default=policy.replicas.min)
    high = min(ceilings, default=max(policy.replicas.max, low))
    return Bounds(low, max(high, low), bool(floors), bool(ceilings))


def is_open(window: Window, moment: datetime) -> bool:
    """Whether an aware moment lies in the window, by the wall clock of the window's zone."""
    local = moment.astimezone(ZoneInfo(window.timezone))
    return window.is_open_at(local.weekday(), local.time())


def _unchanged_for(window: Window, moment: datetime) -> float:
    """Seconds for which the window certainly neither opens nor closes.

    That is until the wall clock shows its start or end. On a day on which that clock is set, it is
    until the next full minute.
    """
    zone = ZoneInfo(window.timezone)
    local, tomorrow = moment.astimezone(zone), (moment + timedelta(days=1)).astimezone(zone)
    if local.utcoffset() != tomorrow.utcoffset():
        return 60.0 - local.second - local.microsecond / 1e6
    clock = _seconds(local.time())
    return min((_seconds(edge) - clock) % _DAY or _DAY for edge in (window.start, window.end))


def _seconds(clock: time) -> float:
    return 3_600 * clock.hour + 60 * clock.minute + clock.second + clock.microsecond / 1e6
