"""What was measured of the application itself, in place of assumptions about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

from autoscaler.model import SeatEstimate


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of the application; None for what is unknown.

    lead_time: seconds from the creation of a pod until it is Ready. seats: sessions that a pod
    holds. cpu_per_session: in cores. memory_per_session: in megabytes. limit: how many sessions a
    pod can hold, by the loads of pods.
    """

    lead_time: float | None = None
    seats: int | None = None
    cpu_per_session: float | None = None
    memory_per_session: float | None = None
    limit: SeatEstimate | None = None


NOTHING_MEASURED = Measured()


class Usage:
    """Collects CPU and memory at certain numbers of sessions, and fits a line through each."""

    def __init__(self) -> None:
        self._cpu, self._memory = _Line(), _Line()

    def add(self, sessions: float, usage: Sequence[float | None]) -> None:
        """Add one measurement: CPU in cores and memory in bytes, None where unknown."""
        for line, value in zip((self._cpu, self._memory), usage, strict=True):
            if value is not None:
                line.add(sessions, value)

    def measured(self) -> Measured:
        """Return what one more session adds."""
        cpu, memory = self._cpu.slope(), self._memory.slope()
        return Measured(
            cpu_per_session=None if isnan(cpu) else round(cpu, 4),
            memory_per_session=None if isnan(memory) else round(memory / 1e6, 1),
        )


class _Line:
    """The slope of a line through points, by least squares."""

    def __init__(self) -> None:
        self._count = 0
        self._mean_x = self._mean_y = self._xx = self._xy = 0.0

    def add(self, x: float, y: float) -> None:
        """Add a point; means and sums are updated so that large numbers lose no digits."""
        self._count += 1
        away = x - self._mean_x
        self._mean_x += away / self._count
        self._mean_y += (y - self._mean_y) / self._count
        self._xx += away * (x - self._mean_x)
        self._xy += away * (y - self._mean_y)

    def slope(self) -> float:
        """Return the slope, or NaN if the points do not show a positive one."""
        slope = self._xy / self._xx if self._count > 2 and self._xx > 0 else nan
        return slope if slope > 0 else nan
