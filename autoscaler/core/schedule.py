"""Bounds by the hour: which calendar windows of a policy are open."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from autoscaler.core.now import Now
from autoscaler.policy import Policy
from autoscaler.policy.schedule import Window

_DAY = 86_400.0


class Bounds(NamedTuple):
    """The active bounds, and whether a window of the schedule set them."""

    min: int
    max: int
    min_scheduled: bool = False
    max_scheduled: bool = False


def bounds(policy: Policy, now: Now) -> Bounds:
    """The policy's own bounds, or those of the open windows: highest min, lowest max.

    Policies whose bounds clash are refused, but for a few hours between several zones' changes to
    or from summer time. There the floor wins: users come before cost.
    """
    if not policy.schedule:
        return Bounds(policy.replicas.min, policy.replicas.max)
    moment = datetime.fromtimestamp(now.at, UTC)
    now.changes_at(now.at + min(_unchanged_for(window, moment) for window in policy.schedule))
    current = [window for window in policy.schedule if is_open(window, moment)]
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
