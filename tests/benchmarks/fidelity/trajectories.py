"""Replicas over time, real ones and simulated ones, and how far they are apart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean
from typing import NamedTuple

from autoscaler.simulation.timeline import Steps, pieces


class Distance(NamedTuple):
    """Integrals over the same time, in replica-seconds. between: the area between both lines."""

    real: float
    simulated: float
    between: float

    @property
    def area(self) -> float:
        """The area between the trajectories in percent of the real replica-hours."""
        return 100.0 * self.between / self.real

    @property
    def difference(self) -> float:
        """By how many percent the simulated replica-hours are above the real ones."""
        return 100.0 * (self.simulated / self.real - 1)


def distance(real: Steps, simulated: Steps, start: float, end: float) -> Distance:
    """Compare two trajectories from `start` to `end`."""
    stretches = pieces((real, simulated), start, end)
    parts = [(a * seconds, b * seconds, abs(a - b) * seconds) for seconds, (a, b) in stretches]
    return Distance(*map(sum, zip(*parts, strict=True)))


def average(distances: Iterable[Distance]) -> Distance:
    """Return the mean of each integral, so that long and large trajectories count for more."""
    return Distance(*map(mean, zip(*distances, strict=True)))
