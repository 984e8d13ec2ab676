"""Bounds by the hour: which calendar windows of a policy are open."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from autoscaler.policy import Policy
from autoscaler.policy.schedule import Window


class Bounds(NamedTuple):
    """The active bounds, and whether a window of the schedule set them."""

    min: int
    max: int
    min_scheduled: bool = False
    max_scheduled: bool = False


def bounds(policy: Policy, now: float) -> Bounds:
    """The policy's own bounds, or those of the open windows: highest min, lowest max.

    Policies whose bounds clash are refused, but for a few hours between several zones' changes to
    or from summer time. There the floor wins: users come before cost.
    """
    if not policy.schedule:
        return Bounds(policy.replicas.min, policy.replicas.max)
    moment = datetime.fromtimestamp(now, UTC)
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
