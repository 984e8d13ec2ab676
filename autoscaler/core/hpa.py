"""One whole pass of the HPA v2 controller, as values: the yardstick beside our own pipeline.

Source: Kubernetes pkg/controller/podautoscaler/horizontal.go `reconcileAutoscaler`, about 1.36.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from autoscaler.core.behavior import (
    Events,
    Limited,
    clamp_without_behavior,
    limit_rate,
    stabilize,
    stabilize_down,
)
from autoscaler.model import Logged, Reason
from autoscaler.policy import Behavior


class Outcome(NamedTuple):
    """The number, the condition reasons that HPA would show, and the log for the next pass."""

    replicas: int
    scaling_active: Reason
    able_to_scale: Reason = Reason.READY_FOR_NEW_SCALE
    limited: Reason = Reason.DESIRED_WITHIN_RANGE
    log: tuple[Logged, ...] = ()


def combine(proposals: Sequence[int | Reason], current: int) -> int | Reason:
    """The largest number; or why there is none.

    A metric that failed (its reason stands in place of the number) blocks the way down only.
    """
    failures = [proposal for proposal in proposals if isinstance(proposal, Reason)]
    numbers = [proposal for proposal in proposals if not isinstance(proposal, Reason)]
    if not numbers or (failures and max(numbers) < current):
        return failures[0] if failures else Reason.FAILED_COMPUTE_METRICS_REPLICAS
    return max(numbers)


def reconcile(
    current: int,
    bounds: tuple[int, int],
    proposals: Sequence[int | Reason],
    now: float,
    *,
    log: tuple[Logged, ...] | None = None,
    behavior: Behavior | None = None,
    events: Events = Events(),  # noqa: B008 - an empty immutable value
) -> Outcome:
    """What HPA asks for. log None: this controller sees the target for the first time."""
    low, high = bounds
    log = (Logged(current, now),) if log is None else log
    if current == 0:
        return Outcome(0, Reason.SCALING_DISABLED, log=log)
    if not low <= current <= high:
        limited = Reason.TOO_MANY_REPLICAS if current > high else Reason.TOO_FEW_REPLICAS
        return Outcome(
            min(max(current, low), high), Reason.VALID_METRIC_FOUND, limited=limited, log=log
        )
    desired = combine(proposals, current)
    if isinstance(desired, Reason):
        return Outcome(current, desired, log=log)
    if behavior is None:
        kept, log = stabilize_down(desired, log, now)
        result = clamp_without_behavior(kept, current, low, high)
    else:
        kept, log = stabilize(desired, current, log, now, behavior)
        result = limit_rate(kept, current, bounds, behavior, events, now)
    return _outcome(desired, kept, result, log)


def _outcome(desired: int, kept: int, result: Limited, log: tuple[Logged, ...]) -> Outcome:
    able = Reason.READY_FOR_NEW_SCALE
    if kept != desired:
        able = Reason.SCALE_DOWN_STABILIZED if kept > desired else Reason.SCALE_UP_STABILIZED
    return Outcome(result.replicas, Reason.VALID_METRIC_FOUND, able, result.reason, log)
