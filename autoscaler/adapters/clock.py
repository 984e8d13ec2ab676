"""The daemon's clock: the machine's, or the API server's if the two differ. It reports steps."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from autoscaler.core import clocks
from autoscaler.core.clocks import OffsetBounds

LOG = logging.getLogger("autoscaler")
# Slewing by NTP is far below this between two passes; a step or a suspend is above it.
SMALLEST_STEP = 0.5


class SystemClock:
    """Implements `ports.Clock`. Tests can replace both sources.

    Between two calls of `stepped` it follows the steady one, so that no time jumps within a pass.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()
        self._corrected = False
        self._told = self._ahead = 0.0
        self._lock = threading.Lock()
        self._heard: list[OffsetBounds] = []
        self._server: OffsetBounds | None = None

    def now(self) -> float:
        """Return the time in Unix seconds."""
        return self._steady() + self._offset

    def steady(self) -> float:
        """Return seconds that never decrease."""
        return self._steady()

    def ahead(self) -> float:
        """Return by how many seconds the machine's clock is ahead of the API server's.

        It is 0 as long as both may agree.
        """
        return self._ahead

    def hear(self, sent: float, stamp: str | None) -> None:
        """Record the time of a response of the API server, which the next `stepped` uses.

        sent: steady time of the request. stamp: the Date header; a response without one is ignored.
        """
        received = self._steady()
        try:
            at = parsedate_to_datetime(stamp or "").timestamp()
        except (ValueError, OverflowError):
            return
        with self._lock:
            self._heard.append(clocks.bounds_of(sent, received, at))

    def stepped(self) -> float:
        """Return by how many seconds the clock was set since the last call, usually 0."""
        with self._lock:
            heard, self._heard = self._heard, []
        if heard:
            self._server = clocks.common(heard)
        machine = self._wall() - self._steady()
        offset, self._corrected = clocks.follow(
            self._offset, machine, self._server, corrected=self._corrected
        )
        self._tell(machine - offset)
        step = offset - self._offset
        if abs(step) < SMALLEST_STEP:
            return 0.0
        self._offset = offset
        return step

    def _tell(self, ahead: float) -> None:
        """Log a difference of the clocks once, and its end."""
        self._ahead = ahead
        changed = abs(ahead - self._told) >= clocks.WORTH_CORRECTING
        if changed and abs(ahead) >= clocks.WORTH_CORRECTING:
            self._told = ahead
            LOG.warning(
                "the clock of this node is about %.0f s %s the clock of the Kubernetes API server, "
                "which is used instead; synchronize the node's clock by NTP",
                abs(ahead),
                "ahead of" if ahead > 0 else "behind",
            )
        elif self._told and not self._corrected:
            self._told = 0.0
            LOG.info("the clock of this node agrees with that of the Kubernetes API server again")


def steady() -> float:
    """Return seconds that never decrease; on Linux they include the time of a suspend."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
