"""Windows and rate policies: what HPA v2 calls behavior.

Source: Kubernetes pkg/controller/podautoscaler/horizontal.go, about 1.36. Ages are compared as
there: without behavior an entry exactly as old as the window still counts, with behavior it does
not. The float arithmetic of the percent policies is kept too: +10 % of 100 is 111.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import NamedTuple

from autoscaler.core.now import Now
from autoscaler.model import Logged, Reason
from autoscaler.policy import Behavior, RatePolicy, ScalingRules

DOWN_WINDOW = 300
DEFAULT_UP = (
    RatePolicy(type="Pods", value=4, periodSeconds=15),
    RatePolicy(type="Percent", value=100, periodSeconds=15),
)
DEFAULT_DOWN = (RatePolicy(type="Percent", value=100, periodSeconds=15),)


class Stabilized(NamedTuple):
    """The number after the windows, and the log with the raw recommendation added."""

    replicas: int
    log: tuple[Logged, ...]


class Limited(NamedTuple):
    """The number after limits and bounds, and which of them had the last word."""

    replicas: int
    reason: Reason


class Events(NamedTuple):
    """Changes of the replica count that were made, as positive sizes."""

    ups: tuple[Logged, ...] = ()
    downs: tuple[Logged, ...] = ()


def stabilize_down(
    desired: int, log: tuple[Logged, ...], now: Now, window: float = DOWN_WINDOW
) -> Stabilized:
    """Never below the highest recommendation of the window; growth passes at once."""
    since = now.at - window
    recent = [entry for entry in log if entry.at >= since]
    _note_end(recent, window, now)
    kept = max([desired, *[entry.replicas for entry in recent]])
    return Stabilized(kept, _with_latest(log, Logged(desired, now.at), since, now))


def stabilize(
    desired: int, current: int, log: tuple[Logged, ...], now: Now, behavior: Behavior
) -> Stabilized:
    """Hold to the present number between the lowest and the highest active recommendation."""
    up_window, down_window = windows(behavior)
    low = min([desired, *[entry.replicas for entry in within(log, up_window, now)]])
    high = max([desired, *[entry.replicas for entry in within(log, down_window, now)]])
    kept = min(max(current, low), high)
    since = now.at - max(up_window, down_window)
    return Stabilized(kept, _with_latest(log, Logged(desired, now.at), since, now))


def windows(behavior: Behavior) -> tuple[int, int]:
    """The windows up and down in seconds, with HPA's defaults filled in."""
    up = behavior.scale_up.stabilization_window_seconds
    down = behavior.scale_down.stabilization_window_seconds
    return (0 if up is None else up), (DOWN_WINDOW if down is None else down)


def within(log: Iterable[Logged], seconds: float, now: Now) -> list[Logged]:
    """The entries that are younger than `seconds`."""
    since = now.at - seconds
    recent = [entry for entry in log if entry.at > since]
    _note_end(recent, seconds, now)
    return recent


def _note_end(recent: Sequence[Logged], seconds: float, now: Now) -> None:
    if recent:
        now.changes_at(min([entry.at for entry in recent]) + seconds)


def _with_latest(
    log: tuple[Logged, ...], entry: Logged, since: float, now: Now
) -> tuple[Logged, ...]:
    """Append the entry and drop the last outdated one, so the log stays one window long."""
    slot = _last_outdated(log, since)
    kept = log if slot is None else (*log[:slot], *log[slot + 1 :])
    if any(each.at <= since for each in kept):
        now.holds_only_now()  # a later pass drops another one
    return (*kept, entry)


def _remember(log: tuple[Logged, ...], entry: Logged, since: float) -> tuple[Logged, ...]:
    """Append, or reuse the slot of the last outdated entry, so the log stays one window long."""
    slot = _last_outdated(log, since)
    return (*log, entry) if slot is None else (*log[:slot], entry, *log[slot + 1 :])


def _last_outdated(log: tuple[Logged, ...], since: float) -> int | None:
    return max([slot for slot, entry in enumerate(log) if entry.at < since], default=None)


def record_change(events: Events, behavior: Behavior, change: int, now: float) -> Events:
    """The events with one more; change: replicas added, or removed if negative.

    As in HPA the new one takes the place of an event older than every period of its own direction,
    although the other direction's policies may look back further and then miss the old one.
    """
    entry = Logged(abs(change), now)
    if change > 0:
        period = _longest_period(behavior.scale_up, DEFAULT_UP)
        return events._replace(ups=_remember(events.ups, entry, now - period))
    period = _longest_period(behavior.scale_down, DEFAULT_DOWN)
    return events._replace(downs=_remember(events.downs, entry, now - period))


def _longest_period(rules: ScalingRules, defaults: tuple[RatePolicy, ...]) -> int:
    return max(policy.period_seconds for policy in rules.policies or defaults)


def changed_within(events: Iterable[Logged], period: float, now: Now) -> int:
    """Replicas added (or removed) during the last `period` seconds."""
    return sum(entry.replicas for entry in within(events, period, now))


def limit_rate(
    desired: int,
    current: int,
    bounds: tuple[int, int],
    behavior: Behavior,
    events: Events,
    now: Now,
) -> Limited:
    """Apply the rate policies of the direction, then min and max."""
    low, high = bounds
    if desired > current:
        return _limit_up(desired, current, high, scale_up_limit(current, behavior, events, now))
    if desired < current:
        return _limit_down(desired, current, low, scale_down_limit(current, behavior, events, now))
    return Limited(desired, Reason.DESIRED_WITHIN_RANGE)


def _limit_up(desired: int, current: int, high: int, limit: int) -> Limited:
    limit = max(limit, current)
    if desired > min(limit, high):
        reason = Reason.SCALE_UP_LIMIT if limit < high else Reason.TOO_MANY_REPLICAS
        return Limited(min(limit, high), reason)
    return Limited(desired, Reason.DESIRED_WITHIN_RANGE)


def _limit_down(desired: int, current: int, low: int, limit: int) -> Limited:
    limit = min(limit, current)
    if desired < max(limit, low):
        reason = Reason.SCALE_DOWN_LIMIT if limit > low else Reason.TOO_FEW_REPLICAS
        return Limited(max(limit, low), reason)
    return Limited(desired, Reason.DESIRED_WITHIN_RANGE)


def scale_up_limit(current: int, behavior: Behavior, events: Events, now: Now) -> int:
    """The most replicas that the policies allow now; `current` where they are disabled."""
    rules = behavior.scale_up

    def allowed(policy: RatePolicy, start: int) -> int:
        if policy.type == "Pods":
            return start + policy.value
        return ceil(start * (1.0 + policy.value / 100.0))

    limits = _limits(rules, DEFAULT_UP, current, events, now, allowed)
    return _select(rules, limits, current, loosest=max, tightest=min)


def scale_down_limit(current: int, behavior: Behavior, events: Events, now: Now) -> int:
    """The fewest replicas that the policies allow now; `current` where they are disabled."""
    rules = behavior.scale_down

    def allowed(policy: RatePolicy, start: int) -> int:
        if policy.type == "Pods":
            return start - policy.value
        return int(start * (1.0 - policy.value / 100.0))

    limits = _limits(rules, DEFAULT_DOWN, current, events, now, allowed)
    return _select(rules, limits, current, loosest=min, tightest=max)


def _limits(
    rules: ScalingRules,
    defaults: tuple[RatePolicy, ...],
    current: int,
    events: Events,
    now: Now,
    allowed: Callable[[RatePolicy, int], int],
) -> list[int]:
    """Each policy's limit, counted from the replicas at the start of its period."""
    limits = []
    for policy in rules.policies or defaults:
        added = changed_within(events.ups, policy.period_seconds, now)
        removed = changed_within(events.downs, policy.period_seconds, now)
        limits.append(allowed(policy, current - added + removed))
    return limits


def _select(
    rules: ScalingRules,
    limits: list[int],
    current: int,
    *,
    loosest: Callable[[list[int]], int],
    tightest: Callable[[list[int]], int],
) -> int:
    if rules.select_policy == "Disabled":
        return current
    return (tightest if rules.select_policy == "Min" else loosest)(limits)
