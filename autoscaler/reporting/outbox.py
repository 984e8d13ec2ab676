"""Does what a pass need not wait for: an API server or a disk that is slow holds nobody up."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

LOG = logging.getLogger("autoscaler")


class Outbox:
    """Does small tasks one after the other in a thread of its own, in the order they came.

    what: what the tasks write, in words. receiver: who takes it. most: tasks that may wait; more
    are dropped, with a line in the log, for they tell of a past that nobody acts on.
    """

    def __init__(self, what: str, receiver: str, most: int) -> None:
        self._what, self._receiver, self._most = what, receiver, most
        self._tasks: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def put(self, task: Callable[[], None]) -> bool:
        """Do it soon. Where too many wait already, it is dropped. Returns whether it is done."""
        with self._changed:
            if len(self._tasks) >= self._most:
                self._dropped += 1
                return False
            self._tasks.append(task)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._what, daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return True

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
                slow = "%d %s were dropped: %s is slow to take them"
                LOG.warning(slow, dropped, self._what, self._receiver)
            try:
                task()
            except Exception:
                LOG.exception("internal error (a bug, please report it): %s are lost", self._what)
