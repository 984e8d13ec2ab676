"""Whether the machine gave a test the time that it needed.

A test that compares what happens in real time judges the machine too. A thread that sleeps for a
moment, again and again, sees how late it is woken; the kernel tells for how long tasks have waited
for a processor. Where the machine was starved, a failure says nothing, so the test is made again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PERIOD = 0.05
LATE_SHARE, WAITING_SHARE = 0.15, 0.5
# A test is starved too if wake-ups were late in one stretch of so many seconds.
STRETCH = 5.0
# An hour of them.
MOST_STRETCHES = 720
PRESSURE = Path("/proc/pressure/cpu")


class Moment(NamedTuple):
    """Totals in seconds until then. late: of wake-ups. waiting: of tasks without a processor."""

    at: float
    late: float
    waiting: float


class Watch:
    """Watches the processors from its start on, in a thread of its own."""

    def __init__(self) -> None:
        self._late = 0.0
        self._stretches: deque[tuple[float, float]] = deque(maxlen=MOST_STRETCHES)
        threading.Thread(target=self._run, name="starvation", daemon=True).start()

    def now(self) -> Moment:
        """Return the totals until now, to give to `starved_since`."""
        return Moment(time.monotonic(), self._late, waiting())

    def starved_since(self, began: Moment) -> str:
        """Return how the machine was starved since then, in words; "" where it was not."""
        now = self.now()
        passed = max(now.at - began.at, PERIOD)
        late = (now.late - began.late) / passed
        waited = (now.waiting - began.waiting) / passed
        since = began.at - STRETCH  # A short test ends within a stretch that began before it.
        worst = max((late for at, late in [*self._stretches] if at > since), default=0.0)
        if max(late, worst) < LATE_SHARE and waited < WAITING_SHARE:
            return ""
        return (
            f"wake-ups were late for {late:.0%} ({worst:.0%} of the worst {STRETCH:.0f} s) "
            f"and tasks waited for {waited:.0%} of {passed:.0f} s"
        )

    def _run(self) -> None:
        begun, before = time.monotonic(), 0.0
        while True:
            began = time.monotonic()
            time.sleep(PERIOD)
            now = time.monotonic()
            self._late += max(0.0, now - began - 2 * PERIOD)
            if now - begun >= STRETCH:
                self._stretches.append((now, (self._late - before) / (now - begun)))
                begun, before = now, self._late


def waiting() -> float:
    """Return for how many seconds some task has waited for a processor; 0 where none tells."""
    with suppress(OSError, ValueError, IndexError):
        return int(PRESSURE.read_text().split("total=")[1].split()[0]) / 1e6
    return 0.0
