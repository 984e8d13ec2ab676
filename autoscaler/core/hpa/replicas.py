"""One metric's number: how many replicas it asks for, before any window, limit or bound.

The resource, average-value and value recommenders are HPA's (Kubernetes replica_calculator.go and
metrics/utilization.go, about 1.36), in integer milli-units. A metric without an answer raises
`NoRecommendation`, which the pipeline turns into a hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from autoscaler.core.hpa.pod_groups import (
    IN_PRODUCTION,
    PodGroups,
    Reading,
    Usage,
    WarmUp,
    group_pods,
)
from autoscaler.core.now import Now

MAX_INT32 = 2**31 - 1


class NoRecommendation(Exception):  # noqa: N818 - it is an answer ("hold"), not a failure
    """This metric has no number now; the text says why."""


class Tolerance(NamedTuple):
    """How far usage may be off its target without a change; 0.1 is 10 %. Both ends inclusive."""

    up: float = 0.1
    down: float = 0.1

    def covers(self, ratio: float) -> bool:
        """Whether the ratio of usage to target calls for no change."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


class Proposal(NamedTuple):
    """A number of replicas and the figure it rests on (percent, or milli-units a pod)."""

    replicas: int
    usage: int
    average: int = 0


def utilization(
    readings: Sequence[Reading],
    percent: int,
    current: int,
    now: Now,
    tolerance: Tolerance,
    *,
    cpu: bool,
    warm_up: WarmUp = IN_PRODUCTION,
) -> Proposal:
    """Replicas so that the pods use `percent` of their budgets. Raises NoRecommendation.

    Worked: 600, 1000 and 1400 of 2000 each are 50 %; at a target of 30 % the ratio is 1.67 and
    3 ready pods become ceil(1.67 * 3) = 5.
    """
    groups = _measured(readings, now, cpu=cpu, warm_up=warm_up)
    bare = [reading.pod.name for reading in readings if reading.budget is None]
    if bare:
        what = "request for cpu" if cpu else "limit for memory"
        raise NoRecommendation(f"missing {what} in a container of pod {bare[0]}")
    if not any(usage.budget for usage in groups.ready):
        raise NoRecommendation("no metrics returned matched known pods")
    fill = _UtilizationFill(percent)
    ratio, share = fill.ratio(groups.ready)
    replicas = _rebalance(groups, ratio, current, tolerance, fill)
    return Proposal(replicas, share, sum([u.value for u in groups.ready]) // len(groups.ready))


def _measured(
    readings: Sequence[Reading], now: Now, *, cpu: bool, warm_up: WarmUp = IN_PRODUCTION
) -> PodGroups:
    if not readings:
        raise NoRecommendation("no pods returned by selector while calculating replica count")
    if all(reading.sample is None for reading in readings):
        raise NoRecommendation("no metrics returned from resource metrics API")
    groups = group_pods(readings, now, cpu=cpu, warm_up=warm_up)
    if not groups.ready:
        raise NoRecommendation("did not receive metrics for targeted pods (pods might be unready)")
    return groups


def value(total: int, target: int, current: int, ready: int, tolerance: Tolerance) -> Proposal:
    """Replicas so that one figure for the whole target comes to `target` milli-units.

    Scales the *ready* pods: with none ready it proposes 0.
    """
    ratio = total / target
    if current == 0:
        return Proposal(min(ceil(ratio), MAX_INT32), total)
    if tolerance.covers(ratio):
        return Proposal(current, total)
    return Proposal(min(ceil(ratio * ready), MAX_INT32), total)


def average_value(total: int, target: int, replicas: int, tolerance: Tolerance) -> Proposal:
    """Replicas so that each has a share of `target` milli-units of the total.

    replicas: how many exist (status.replicas), ready or not.
    """
    wanted = min(ceil(total / target), MAX_INT32)
    if replicas and tolerance.covers(total / (target * replicas)):
        wanted = replicas
    mean = ceil(total / replicas) if replicas else 0
    return Proposal(wanted, mean)


def sessions(connected: int, spare: int, seats: int) -> int:
    """Pods so that every connected session has a seat and `spare` seats stay free."""
    return -(-(connected + spare) // seats)


class _UtilizationFill(NamedTuple):
    """What a pod without a usable sample is taken to use, for a target in percent."""

    percent: int

    def ratio(self, usages: Sequence[Usage]) -> tuple[float, int]:
        return _share(usages, self.percent)

    def missing_below(self, budget: int | None) -> Usage:
        return Usage((budget or 0) * max(100, self.percent) // 100, budget)


def _share(usages: Sequence[Usage], percent: int) -> tuple[float, int]:
    """Ratio to the target, and use as a whole percentage of the budgets (a ratio of sums)."""
    share = 100 * sum([u.value for u in usages]) // sum([u.budget or 0 for u in usages])
    return share / percent, share


def _rebalance(
    groups: PodGroups,
    ratio: float,
    current: int,
    tolerance: Tolerance,
    fill: _UtilizationFill,
) -> int:
    """HPA's second look: pods without a sample may only damp a change, never cause or flip one."""
    unready_up = bool(groups.unready) and ratio > 1.0
    if not unready_up and not groups.missing:
        return current if tolerance.covers(ratio) else ceil(ratio * len(groups.ready))
    enlarged = [*groups.ready, *_filled(groups, ratio, fill)]
    if unready_up:
        enlarged += [Usage(0, budget) for budget in groups.unready]
    again, _ = fill.ratio(enlarged)
    if tolerance.covers(again) or (ratio < 1.0 < again) or (again < 1.0 < ratio):
        return current
    wanted = ceil(again * len(enlarged))
    wrong_way = (again < 1.0 and wanted > current) or (again > 1.0 and wanted < current)
    return current if wrong_way else wanted


def _filled(groups: PodGroups, ratio: float, fill: _UtilizationFill) -> list[Usage]:
    """Missing pods idle on the way up, busy on the way down, left out exactly on target."""
    if ratio < 1.0:
        return [fill.missing_below(budget) for budget in groups.missing]
    if ratio > 1.0:
        return [Usage(0, budget) for budget in groups.missing]
    return []
