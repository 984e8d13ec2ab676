"""Which pods count: HPA's classification, shared by every metric that is read per pod.

Source: Kubernetes pkg/controller/podautoscaler/replica_calculator.go `groupPods`, about 1.36.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from autoscaler.core.now import Now
from autoscaler.model import PodState, Sample


class WarmUp(NamedTuple):
    """How long a young pod's CPU says nothing yet, in seconds. Defaults: HPA's in production."""

    cpu_initialization_period: float = 300.0
    initial_readiness_delay: float = 30.0


IN_PRODUCTION = WarmUp()


class Usage(NamedTuple):
    """One counted pod: what it uses, and what the target is a percentage of (None: unknown)."""

    value: int
    budget: int | None


class PodGroups(NamedTuple):
    """The pods of a target by what their samples are worth.

    ready: counted as they are. unready: starting, their sample misleads. missing: no sample.
    ignored: on their way out. Unready and missing carry their budget only.
    """

    ready: tuple[Usage, ...]
    unready: tuple[int | None, ...]
    missing: tuple[int | None, ...]
    ignored: int


class Reading(NamedTuple):
    """One pod together with the sample and the budget that the metric at hand is about."""

    pod: PodState
    sample: Sample | None
    budget: int | None = None


def group_pods(
    readings: Iterable[Reading], now: Now, *, cpu: bool, warm_up: WarmUp = IN_PRODUCTION
) -> PodGroups:
    """Sort pods as HPA does; the first rule that matches wins. cpu: apply the warm-up rules."""
    ready: list[Usage] = []
    unready: list[int | None] = []
    missing: list[int | None] = []
    ignored = 0
    for pod, sample, budget in readings:
        if not pod.is_active:
            ignored += 1
        elif pod.phase == "Pending":
            unready.append(budget)
        elif sample is None:
            missing.append(budget)
        elif cpu and _warming_up(pod, sample, now, warm_up):
            unready.append(budget)
        else:
            ready.append(Usage(sample.value, budget))
    return PodGroups(tuple(ready), tuple(unready), tuple(missing), ignored)


def _warming_up(pod: PodState, sample: Sample, now: Now, warm_up: WarmUp) -> bool:
    """Whether the CPU sample was taken while the pod was still starting.

    A pod that was ready once and no longer is counts: its load is real.
    """
    if pod.ready is None or pod.started_at is None:
        return True
    changed = pod.ready_since if pod.ready_since is not None else pod.started_at
    if now.is_before(pod.started_at + warm_up.cpu_initialization_period):
        return not pod.ready or sample.at < changed + sample.window
    return not pod.ready and pod.started_at + warm_up.initial_readiness_delay > changed
