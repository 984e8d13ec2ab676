"""The wall clock, with its steps made visible."""

from __future__ import annotations

import time
from collections.abc import Callable

# Slewing by NTP stays far below this between two passes; a step (or a suspend) is above.
SMALLEST_STEP = 0.5


class SystemClock:
    """Implements `ports.Clock`. The two sources can be replaced in tests."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()

    def now(self) -> float:
        """Unix seconds."""
        return self._wall()

    def stepped(self) -> float:
        """Seconds by which the wall clock was set since the last call; 0 for normal running."""
        offset = self._wall() - self._steady()
        step = offset - self._offset
        if abs(step) < SMALLEST_STEP:
            return 0.0
        self._offset = offset
        return step


def steady() -> float:
    """Seconds that only run forward, and also while the machine sleeps, where it can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
