"""The load of an event loop: a timer's lag, the length of a stall, how busy it is."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from .tally import Tally

INTERVAL = 0.5  # mean seconds between two timers; one takes 20 us, which is 0.004 % of a CPU
# The share of it by which each wait differs, because a timer in step with a periodic callback would
# be late always or never.
VARIES = 0.5
WINDOW = 10.0  # seconds of the average, so that a garbage collection does not look like load
LATE = 0.005  # seconds; a timer that is later than this came while the loop was busy
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


class Waits:
    """Measures how long a loop waits for events, which is all the time in which it is not busy.

    One wait costs 0.3 us. selector: asyncio's own, of which `select` is replaced.
    """

    def __init__(self, selector: Any) -> None:
        self._select = selector.select
        # Replaced as a whole, because the agent's thread reads it while the loop writes.
        self._waited: tuple[float, float | None] = (0.0, None)  # seconds that ended; since when
        selector.select = self._timed

    @classmethod
    def of(cls, loop: Any) -> Waits | None:
        """Return the waits of a loop, or None if it has no selector, as uvloop's has none."""
        selector = getattr(loop, "_selector", None)
        select = getattr(selector, "select", None)
        if select is None:
            return None
        known = getattr(select, "__self__", None)  # a forked child inherits those of its parent
        return known if isinstance(known, cls) else cls(selector)

    def _timed(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return self._select(timeout)
        waited, began = self._waited[0], time.monotonic()
        self._waited = (waited, began)
        try:
            return self._select(timeout)
        finally:
            self._waited = (waited + time.monotonic() - began, None)

    def left_of(self, now: float) -> float:
        """Return what the waits leave of the time until now.

        In a wait this is the time until it began: a look at the clock would be later than `now`.
        """
        ended, since = self._waited
        return (now if since is None else since) - ended


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
        # Of its own, because the app may have seeded the one that all share.
        self._random = random.Random()  # noqa: S311
        self._due = 0.0
        self._gap = 0.0  # seconds between the due time of the timer and that of the one before
        self.began = 0.0
        self.lag_seconds = 0.0
        self.cpu_seconds = 0.0
        self.busy_seconds = 0.0
        self._seen: dict[int, float] = {}
        self._waits: Waits | None = None
        self._late_seconds = 0.0
        self._sampled = (0.0, 0.0, 0.0)  # the clock, the CPU time and the busy time of the loop
        self._ahead = 0.0  # seconds of the loop's busy time that the CPU time does not have yet
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
        self._waits = Waits.of(self._loop)
        self.began = self._due = time.monotonic()
        self._sampled = (self.began, self.cpu_seconds, self._loop_seconds(self.began))
        self._wait(self.began)

    def _tick(self) -> None:
        if os.getpid() != self._process:
            self._moved()
            return
        now = time.monotonic()
        self.lag_seconds = max(0.0, now - self._due)
        self._tally.observe("bokeh_event_loop_lag_seconds", seconds=self.lag_seconds)
        self._wait(now)

    def _wait(self, now: float) -> None:
        """Set the next timer.

        Those that would have come meanwhile are late too. Were the next one set from now on, the
        end of a periodic callback would set when it comes, and so whether it is late. One that is
        late by up to twice `LATE` counts twice, for one that came shortly before the end of a
        callback and so does not look late.
        """
        due = self._due
        while due <= max(now, self._due):
            if (late := now - due) > LATE:
                self._late_seconds += self._gap * (2 if late <= 2 * LATE else 1)
            self._gap = INTERVAL * self._random.uniform(1 - VARIES, 1 + VARIES)
            due += self._gap
        self._due = due
        self._loop.call_later(due - now, self._tick)

    def stalled_seconds(self) -> float:
        """Return by how many seconds the timer is overdue; 0 before the loop first runs."""
        return max(0.0, time.monotonic() - self._due) if self.running else 0.0

    def sample(self) -> None:
        """Take a sample of the CPU and busy times; the agent's thread calls this once a second."""
        now = time.monotonic()
        for native_id in self._serving_threads():
            self._account(native_id)
        if self._native_id:
            self._count_busy(now)
        self._samples.append((now, self.busy_seconds))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW:
            self._samples.popleft()

    def _count_busy(self, now: float) -> None:
        """Count the CPU time since the last sample, and for how long the loop was busy beyond it.

        The timers of one second are too few to tell, so those of `WINDOW` make up for each other.
        """
        then, cpu, loop = self._sampled
        self._sampled = (now, self.cpu_seconds, max(loop, self._loop_seconds(now)))
        if not self.running:
            return
        spent = min(self.cpu_seconds - cpu, now - then)
        least = -WINDOW if self._waits is None else 0.0
        self._ahead = min(max(least, self._ahead + self._sampled[2] - loop - spent), WINDOW)
        beyond = min(max(0.0, self._ahead), now - then - spent)
        self._ahead -= beyond
        self.busy_seconds += spent + beyond

    def _loop_seconds(self, now: float) -> float:
        """Return the time in which the loop was busy, by its waits, since it is watched.

        Where the waits cannot be seen, this is the time before each late timer, and by which the
        next one is overdue: a timer is late as often as the loop is busy.
        """
        if self._waits is not None:
            return self._waits.left_of(now)
        awaited = now - self._due if now - self._due > LATE else 0.0
        return self._late_seconds + awaited

    def _serving_threads(self) -> list[int]:
        helpers = [t.native_id for t in threading.enumerate() if t.name.startswith(HELPERS)]
        return [native_id for native_id in (self._native_id, *helpers) if native_id]

    def _account(self, native_id: int) -> None:
        used = thread_cpu_seconds(native_id)
        if used is not None:
            self.cpu_seconds += max(0.0, used - self._seen.get(native_id, 0.0))
            self._seen[native_id] = used

    def utilization(self) -> float:
        """Return the share of the window in which the loop was busy, from 0 to 1."""
        (began, before), (ended, after) = self._samples[0], self._samples[-1]
        return min(1.0, (after - before) / (ended - began)) if ended > began else 0.0
