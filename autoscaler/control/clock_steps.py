"""Steps of the wall clock, and what they mean for times that pods carry."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from autoscaler.model import PodState
from autoscaler.ports import TargetState


class ClockStep(NamedTuple):
    """The wall clock was set. at: what it showed until then. seconds: by how much."""

    at: float
    seconds: float


class ClockSteps:
    """Remembers each step of the clock since the first pass."""

    def __init__(self) -> None:
        self._steps: list[ClockStep] = []
        self._began = False

    def begin(self) -> None:
        """Record that pods were read. Nothing was written by the clock that was set before."""
        self._began = True

    def add(self, at: float, seconds: float) -> None:
        """Record a step. at: what the clock showed until then, in Unix seconds."""
        if self._began:
            self._steps.append(ClockStep(at, seconds))

    def adjust(self, target: TargetState) -> TargetState:
        """Return the target with the times of its pods' cordons on the present clock."""
        pods = tuple(map(self._adjusted, target.pods)) if self._steps else target.pods
        return target if pods == target.pods else replace(target, pods=pods)

    def _adjusted(self, pod: PodState) -> PodState:
        """Shift the cordon's time by every forward step that was made after it.

        Otherwise the pod would appear to have been cordoned for longer than it was.
        """
        if pod.cordon is None:
            return pod
        at = pod.cordon.at
        for step in self._steps:
            at += step.seconds if step.seconds > 0 and at <= step.at else 0.0
        return replace(pod, cordon=pod.cordon._replace(at=at))
