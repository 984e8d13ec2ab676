"""When passes run: APScheduler for the ticks and the calendar, one pass at a time.

APScheduler 3.11 waits by the monotonic clock but plans by the wall clock: after a step of one hour
back a job would rest for that hour. A small watch sees such a step within a second and plans anew.
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
    """Calls `work` at once, every `interval` seconds, and at each edge of a calendar window."""

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
        """Begin; the first tick is due at once."""
        self._scheduler.start()
        self._watch.start()

    def plan(self, interval: float, policies: Iterable[Policy] = ()) -> None:
        """Tick every `interval` seconds and at the edges of the policies' windows."""
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
        """End; wait: let a pass that is under way finish."""
        self._stop.set()
        self._scheduler.shutdown(wait=wait)
        self._watch.join()

    def _watch_clock(self) -> None:
        while not self._stop.wait(WATCH_EVERY):
            if self._clock.stepped():
                self._plan_anew()

    def _plan_anew(self) -> None:
        """Plan each job from the present clock: the tick now, the calendar when it is due."""
        now = datetime.now(UTC)
        for job in self._scheduler.get_jobs():
            due = now if job.id == TICK else job.trigger.get_next_fire_time(None, now)
            job.modify(next_run_time=due)


def calendar_edges(policy: Policy) -> set[Edge]:
    """When the bounds of a policy may change: (hour, minute, zone) of each edge."""
    edges = set()
    for window in policy.schedule:
        for moment in (window.start, window.end):
            edges.add((str(moment.hour), str(moment.minute), window.timezone))
    return edges


def _cron(edge: Edge) -> CronTrigger:
    """Every day at that time: a pass too many costs nothing, so days need no care over midnight."""
    hour, minute, zone = edge
    return CronTrigger(hour=hour, minute=minute, timezone=zone)
