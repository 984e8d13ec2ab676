"""The time of a cluster in memory, in whole seconds: clocks that differ, and what is to come."""

from __future__ import annotations

from collections.abc import Callable

from autoscaler.adapters.clock import SystemClock
from tests.builders import NOW


class ModelTime:
    """Implements nothing: the time that passes, whatever clocks show. Every second is a tick.

    time: seconds since the beginning. wall: what the API server's clock shows, and the kubelets'.
    """

    def __init__(self) -> None:
        self.time = 0.0
        self._wall_ahead = NOW
        self._to_come: list[tuple[float, Callable[[], object]]] = []

    @property
    def wall(self) -> float:
        return self._wall_ahead + self.time

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Something that happens so many seconds from now, also in the middle of a pass."""
        self._to_come.append((self.time + seconds, action))

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.time += 1.0
            self.happen(until=self.time)
            self.tick()

    def happen(self, until: float = float("inf")) -> None:
        """What is due by then; what it brings about may be due at once."""
        while due := [each for each in self._to_come if each[0] <= until]:
            first = min(due, key=lambda each: each[0])
            self._to_come.remove(first)
            first[1]()

    def tick(self) -> None:
        """What each second brings."""

    def set_wall_by(self, seconds: float) -> None:
        """The clocks of the API server and the nodes."""
        self._wall_ahead += seconds


class DaemonClock(SystemClock):
    """The clock of one daemon, on whose machine it may be wrong."""

    def __init__(self, world: ModelTime, ahead: float = 0.0) -> None:
        self._machine = world.wall - world.time + ahead
        super().__init__(lambda: self._machine + world.time, lambda: world.time)

    def set_by(self, seconds: float) -> None:
        """Somebody sets the machine's clock."""
        self._machine += seconds
