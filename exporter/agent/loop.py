"""How busy an event loop is: a timer's lag, a stall's length, the CPU share of its threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from .tally import Tally

INTERVAL = 0.5  # s between two timers; one costs 20 us, so 0.004 % of a CPU
WINDOW = 10.0  # s over which utilisation is averaged: a garbage collection does not look like load
# Where Bokeh 3.10 runs callbacks and serialisation, and Panel --num-threads its callbacks.
HELPERS = ("asyncio_", "bokeh-response", "ThreadPoolExecutor")


def thread_cpu_seconds(native_id: int) -> float | None:
    """CPU time of a thread of this process, None once it is gone.

    The clock id is Linux's CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED for that thread; unlike
    `pthread_getcpuclockid` it is safe for a thread that just ended (EINVAL).
    """
    try:
        return time.clock_gettime((~native_id << 3) | 6)
    except OSError:
        return None


class LoopMonitor:
    """Watches one asyncio loop from inside (the timer) and from the agent's thread (the rest)."""

    def __init__(self, loop: Any, tally: Tally) -> None:
        self._loop = loop
        self._tally = tally
        self._native_id = 0
        self._last_tick = 0.0
        self.lag_seconds = 0.0
        self.cpu_seconds = 0.0
        self._seen: dict[int, float] = {}
        self._samples: deque[tuple[float, float]] = deque([(time.monotonic(), 0.0)])
        loop.call_soon_threadsafe(self._begin)

    @property
    def running(self) -> bool:
        """Whether the loop has run at all."""
        return self._native_id != 0

    def _begin(self) -> None:
        self._native_id = threading.get_native_id()
        self._seen[self._native_id] = thread_cpu_seconds(self._native_id) or 0.0
        self._last_tick = time.monotonic()
        self._loop.call_later(INTERVAL, self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        self.lag_seconds = max(0.0, now - self._last_tick - INTERVAL)
        self._tally.observe("bokeh_event_loop_lag_seconds", seconds=self.lag_seconds)
        self._last_tick = now
        self._loop.call_later(INTERVAL, self._tick)

    def stalled_seconds(self) -> float:
        """How overdue the timer is now; 0 before the loop first runs."""
        overdue = time.monotonic() - self._last_tick - INTERVAL
        return max(0.0, overdue) if self.running else 0.0

    def sample(self) -> None:
        """Take a CPU sample; the agent's thread calls this about once a second."""
        now = time.monotonic()
        for native_id in self._serving_threads():
            self._account(native_id)
        self._samples.append((now, self.cpu_seconds))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW:
            self._samples.popleft()

    def _serving_threads(self) -> list[int]:
        helpers = [t.native_id for t in threading.enumerate() if t.name.startswith(HELPERS)]
        return [native_id for native_id in (self._native_id, *helpers) if native_id]

    def _account(self, native_id: int) -> None:
        used = thread_cpu_seconds(native_id)
        if used is not None:
            self.cpu_seconds += max(0.0, used - self._seen.get(native_id, 0.0))
            self._seen[native_id] = used

    def utilization(self) -> float:
        """Share of the window that the serving threads used, 0 to 1."""
        (began, before), (ended, after) = self._samples[0], self._samples[-1]
        return min(1.0, (after - before) / (ended - began)) if ended > began else 0.0
