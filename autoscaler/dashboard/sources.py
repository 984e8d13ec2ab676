"""What the page shows, as the daemon and Prometheus tell it; all open pages share it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from autoscaler.control.learning import SPAN
from autoscaler.core.forecast import SLOT
from autoscaler.dashboard.kept import Kept
from autoscaler.model import TargetRef
from autoscaler.ports import ArrivalHistory
from autoscaler.reporting.status_report import PolicyStatus, StatusReport
from autoscaler.simulation.live import Recorded, Told

# Changes of a target whose words are kept.
MOST_TOLD = 1_000


# The key of the status, of which there is one.
STATUS = "status"


class History(Protocol):
    """Reads what was recorded of a Deployment of late."""

    def read(self, target: TargetRef, end: float, span: float) -> Recorded:
        """Return the last `span` seconds before `end`. Raises MetricsError."""


class Sources:
    """The status of the daemons, and the recent history and the arrivals of each target.

    ask: returns the status and may raise. now: Unix seconds. every: seconds between two looks at
    the daemon; scrape: at Prometheus.
    """

    def __init__(
        self,
        ask: Callable[[], StatusReport],
        history: History,
        arrivals: ArrivalHistory,
        now: Callable[[], float],
        every: float,
        scrape: float,
    ) -> None:
        self._ask = ask
        self._now = now
        self._told: dict[str, deque[Told]] = {}
        self.status = Kept[str, StatusReport](lambda _: self._hear(), every)
        self.recent = Kept[tuple[TargetRef, float], Recorded](
            lambda key: history.read(key[0], now(), key[1]), scrape
        )
        self.arrivals = Kept[TargetRef, Mapping[int, float]](
            lambda ref: arrivals.arrivals(ref, now(), SPAN, int(SLOT)), SLOT
        )

    def told(self, target: str) -> Sequence[Told]:
        """Return the changes of a target that were heard of since the page is served."""
        return tuple(self._told.get(target, ()))

    def _hear(self) -> StatusReport:
        report = self._ask()
        for status in report.policies:
            self._remember(status)
        return report

    def _remember(self, status: PolicyStatus) -> None:
        found = status.replicas
        if found is None or found.current == found.desired:
            return
        at, change = self._now() - (status.age or 0.0), (found.current, found.desired)
        known = self._told.setdefault(status.target, deque(maxlen=MOST_TOLD))
        known.append(Told(at, *change, status.reason, status.detail))
