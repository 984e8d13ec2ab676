"""The load of an event loop: a timer's lag, the length of a stall, the CPU share of its threads."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from .tally import Tally

INTERVAL = 0.5  # seconds between two timers; one takes 20 us, which is 0.004 % of a CPU
WINDOW = 10.0  # seconds of the average, so that a garbage collection does not look like load
# Threads of Bokeh 3.10's callbacks and serialization, and of Panel's --num-threads.
HELPERS = ("asyncio_", "bokeh-response", "ThreadPoolExecutor")


def thread_cpu_seconds(native_id: int) -> float | None:
    """Return the CPU time of a thread of this process, or None once it has ended.

    The clock ID is Linux's CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED for that thread; unlike
    `pthread_getcpuclockid` it is safe for a thread that just ended (EINVAL).
    """
    try:
        return time.clock_gettime((~native_id << 3) | 6)
    except OSError:
        return None


class LoopMonitor:
    """Watches one asyncio loop, from inside (the timer) and from the agent's thread (the rest).

    whole: whether every request of the server on this loop is seen. moved: called in the loop if it
    runs in a child that was forked after the monitor was made; the child needs a new monitor.
    """

    def __init__(self, loop: Any, tally: Tally, moved: Callable[[], None], whole: bool) -> None:
        self._loop = loop
        self._tally = tally
        self._moved = moved
        self.whole = whole
        self._process = os.getpid()
        self._native_id = 0
        self._last_tick = 0.0
        self.began = 0.0
        self.lag_seconds = 0.0
        self.cpu_seconds = 0.0
        self._seen: dict[int, float] = {}
        self._samples: deque[tuple[float, float]] = deque([(time.monotonic(), 0.0)])
        loop.call_soon_threadsafe(self._begin)

    @property
    def running(self) -> bool:
        """Whether the loop has started and not stopped."""
        return self._native_id != 0 and self._loop.is_running()

    def _begin(self) -> None:
        if os.getpid() != self._process:
            self._moved()
            return
        self._native_id = threading.get_native_id()
        self._seen[self._native_id] = thread_cpu_seconds(self._native_id) or 0.0
        self.began = self._last_tick = time.monotonic()
        self._loop.call_later(INTERVAL, self._tick)

    def _tick(self) -> None:
        if os.getpid() != self._process:
            self._moved()
            return
        now = time.monotonic()
        self.lag_seconds = max(0.0, now - self._last_tick - INTERVAL)
        self._tally.observe("bokeh_event_loop_lag_seconds", seconds=self.lag_seconds)
        self._last_tick = now
        self._loop.call_later(INTERVAL, self._tick)

    def stalled_seconds(self) -> float:
        """Return by how many seconds the timer is overdue; 0 before the loop first runs."""
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
        """Return the CPU share of the serving threads over the window, from 0 to 1."""
        (began, before), (ended, after) = self._samples[0], self._samples[-1]
        return min(1.0, (after - before) / (ended - began)) if ended > began else 0.0
