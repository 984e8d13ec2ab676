"""The schedule of passes: APScheduler for the interval and the calendar, one pass at a time.

APScheduler 3.11 waits by the monotonic clock but plans by the wall clock: if the clock is set back
by an hour, a job would not run for that hour. A small thread detects such a step within a second
and plans again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from autoscaler.adapters.clock import SystemClock
from autoscaler.policy import Policy

Edge = tuple[str, str, str]

WATCH_EVERY = 1.0
TICK = "tick"


class Scheduler:
    """Calls `work` at once, every `interval` seconds, and when a window opens or closes."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._clock = SystemClock()
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._watch_clock, name="clock-watch", daemon=True)
        self._interval: float | None = None
        self._edges: frozenset[Edge] = frozenset()

    def start(self) -> None:
        """Start; the first call is due at once."""
        self._scheduler.start()
        self._watch.start()

    def plan(self, interval: float, policies: Iterable[Policy] = ()) -> None:
        """Call `work` every `interval` seconds and at the edges of the policies' windows."""
        if interval != self._interval:
            self._interval = interval
            self._scheduler.add_job(
                self._work,
                IntervalTrigger(seconds=interval, timezone=UTC),
                id=TICK,
                replace_existing=True,
                next_run_time=datetime.now(UTC),
            )
        edges = frozenset(edge for policy in policies for edge in calendar_edges(policy))
        for gone in self._edges - edges:
            self._scheduler.remove_job(" ".join(gone))
        for new in edges - self._edges:
            self._scheduler.add_job(self._work, _cron(new), id=" ".join(new))
        self._edges = edges

    def stop(self, wait: bool) -> None:
        """Stop. wait: whether to let a running pass finish."""
        self._stop.set()
        self._scheduler.shutdown(wait=wait)
        self._watch.join()

    def _watch_clock(self) -> None:
        while not self._stop.wait(WATCH_EVERY):
            if self._clock.stepped():
                self._plan_anew()

    def _plan_anew(self) -> None:
        """Plan each job by the current clock: the interval's now, the calendar's when due."""
        now = datetime.now(UTC)
        for job in self._scheduler.get_jobs():
            due = now if job.id == TICK else job.trigger.get_next_fire_time(None, now)
            job.modify(next_run_time=due)


def calendar_edges(policy: Policy) -> set[Edge]:
    """Return the (hour, minute, zone) at which the bounds of a policy may change."""
    edges = set()
    for window in policy.schedule:
        for moment in (window.start, window.end):
            edges.add((str(moment.hour), str(moment.minute), window.timezone))
    return edges


def _cron(edge: Edge) -> CronTrigger:
    """Return a trigger for that time on every day.

    The days of a window are ignored, which avoids special cases at midnight; an extra pass is
    cheap.
    """
    hour, minute, zone = edge
    return CronTrigger(hour=hour, minute=minute, timezone=zone)
