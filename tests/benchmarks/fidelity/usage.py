"""The CPU of real pods on a scripted node, which run nothing: what their sessions would use.

Each session stays on the pod that it was given to. The front of the simulation chooses that pod, of
those that the API server says are Ready; who is on a pod that is deleted comes again. A pod that
still starts uses nothing.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from autoscaler.adapters.kubernetes.pods import pod_state, rfc3339
from autoscaler.simulation.fleet import SimulatedFleet, SimulatedPod
from autoscaler.simulation.front import Front, Placement, WhenFull
from autoscaler.simulation.trace import Session

Json = dict[str, Any]


class Usage:
    """The metrics of one Deployment's pods, as `metrics.k8s.io` gives them; the load begins at the
    first look at them.

    sessions: in seconds since then. cores: that one session uses. window: of a sample, in seconds.
    looks: gets the time of each look.
    """

    def __init__(
        self, sessions: Sequence[Session], cores: float, window: float, looks: list[float]
    ) -> None:
        self._sessions, self._cores, self._window = sessions, cores, window
        self.looks = looks
        self._fleet = SimulatedFleet(1, Random(1))
        self._front = Front(Placement.LEASTCONN, WhenFull.OVERFILL, 1, Random(1))
        self._pods: dict[str, SimulatedPod] = {}
        self._lock = threading.Lock()
        self._arrived, self._ends = 0, list[tuple[float, int]]()

    def see(self, kind: str, pod: Mapping[str, Any]) -> None:
        """Follow a pod of the Deployment."""
        state = pod_state(pod)
        with self._lock:
            now = self._advance()
            if kind == "DELETED" or state.deleting:
                if gone := self._pods.pop(state.name, None):
                    for number in self._fleet.remove([gone.uid], now):
                        self._seat(number, now)
                return
            if state.name not in self._pods:
                self._pods[state.name] = self._fleet.create(now, now)
            if state.serving and not self._pods[state.name].ready:
                self._fleet.mark_ready(self._pods[state.name])

    def __iter__(self) -> Iterator[Json]:
        with self._lock:
            self.looks.append(time.time())
            self._advance()
            counts = {name: len(pod.sessions) for name, pod in self._pods.items()}
        for name, count in counts.items():
            usage = {"cpu": f"{round(1_000 * count * self._cores)}m", "memory": "200Mi"}
            yield {
                "metadata": {"name": name},
                "timestamp": rfc3339(self.looks[-1]),
                "window": f"{self._window:g}s",
                "containers": [{"name": "app", "usage": usage}],
            }

    def _advance(self) -> float:
        """Let come and leave who does until now, in seconds since the load began."""
        if not self.looks:
            return 0.0
        now = time.time() - self.looks[0]
        while self._arrived < len(self._sessions) and self._sessions[self._arrived].start <= now:
            self._seat(self._arrived, now)
            self._arrived += 1
        while self._ends and self._ends[0][0] <= now:
            self._fleet.leave(heapq.heappop(self._ends)[1], now)
        return now

    def _seat(self, number: int, now: float) -> None:
        pod = self._front.choose(self._fleet.open_pods)
        if pod is not None:
            self._fleet.seat(number, pod, now)
            heapq.heappush(self._ends, (self._sessions[number].end, number))
