"""Sends Events beside the passes: an API server that is slow to take them holds nobody up."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

LOG = logging.getLogger("autoscaler")
# More that wait are dropped, with a line in the log: they tell of a past that nobody acts on.
MOST_WAITING = 500


class Outbox:
    """Does small tasks one after the other in a thread of its own, in the order they came."""

    def __init__(self) -> None:
        self._tasks: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def put(self, task: Callable[[], None]) -> None:
        """Do it soon. Where too many wait already, it is dropped."""
        with self._changed:
            if len(self._tasks) >= MOST_WAITING:
                self._dropped += 1
                return
            self._tasks.append(task)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="events", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def settle(self, within: float) -> bool:
        """Wait until all is done, at most so many seconds. Returns whether it is."""
        deadline = time.monotonic() + within
        with self._changed:
            while self._tasks or self._busy:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                while not self._tasks:
                    self._changed.wait()
                task, self._busy = self._tasks.popleft(), True
                dropped, self._dropped = self._dropped, 0
            if dropped:
                LOG.warning("%d Events were dropped: the API server is slow to take them", dropped)
            try:
                task()
            except Exception:
                LOG.exception("internal error (a bug, please report it): an Event is lost")
