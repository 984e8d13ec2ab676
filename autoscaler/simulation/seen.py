"""What a policy sees of the simulated fleet: the values that the daemon reads of a real one."""

from __future__ import annotations

from math import inf
from typing import Any

from autoscaler.control.observation import required_queries, required_signals
from autoscaler.core.now import MARGIN
from autoscaler.model import Observation, Occupancy, PodState, Resources, Sample
from autoscaler.policy import Policy
from autoscaler.simulation.fleet import RATE_WINDOW, SimulatedFleet, SimulatedPod

MEGABYTE = 1_000_000
# A pod requests one core and has a limit of 1 GiB (in milli-units, as everywhere in the core).
RESOURCES = Resources(1_000, 1_024**3 * 1_000, 1_024**3 * 1_000)
NODE = "node-1"
BASE_MEMORY = 200 * MEGABYTE


class Observer:
    """Observes a fleet for one policy, and makes the state of a pod anew only if it has changed.

    So a sample has the time of the last change of its pod, as if it were measured then. Rates are
    also measured anew while their window fills, and once a visit is no longer in it.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        cpu_per_session: float,
        cpu_window: float,
        memory_per_session: float,
    ) -> None:
        self._wanted, self._queries = required_signals(policy), required_queries(policy)
        self._reads_rates = not self._wanted.keys().isdisjoint({"cpu", "arrivals"})
        self._cpu_per_session, self._cpu_window = cpu_per_session, cpu_window
        self._memory_per_session = memory_per_session

    def observe(self, fleet: SimulatedFleet, replicas: int, now: float) -> Observation:
        """Return what a pass at `now` sees."""
        pods = tuple([self._seen(pod, now) for pod in fleet.pods.values()])
        external = dict.fromkeys(self._queries, Sample(fleet.seated * 1_000, now))
        return Observation(replicas, pods, status_replicas=len(pods), external=external)

    def same_until(self, fleet: SimulatedFleet) -> float:
        """Return when the observation will change by itself, apart from ages."""
        return min((pod.rates_until for pod in fleet.pods.values()), default=inf)

    def _seen(self, pod: SimulatedPod, now: float) -> PodState:
        if pod.state is None or now >= pod.rates_until or _grows_older(pod):
            pod.state = self._state(pod, now)
            pod.rates_until = self._rates_until(pod, now)
        return pod.state

    def _rates_until(self, pod: SimulatedPod, now: float) -> float:
        """Return when the rates that the policy reads change although nothing happens."""
        if not pod.ready or not self._reads_rates:
            return inf
        if now < pod.ready_at + RATE_WINDOW:
            return now
        times = (pod.came, pod.left) if "arrivals" in self._wanted else ()
        return min((each[0] for each in times if each), default=inf) + RATE_WINDOW - MARGIN

    def _state(self, pod: SimulatedPod, now: float) -> PodState:
        if not pod.ready:
            return _state(pod, phase="Pending", ready=None)
        wanted, count = self._wanted, len(pod.sessions)
        since = pod.ready_at if pod.left_at is None else pod.left_at
        empty_for = None if count else now - since
        return _state(
            pod,
            ready_since=pod.ready_at,
            started_at=pod.created_at,
            occupancy=Occupancy(count, empty_for=empty_for) if pod.marks.cordon else None,
            sessions=Sample(count, now) if "sessions" in wanted else None,
            cpu=Sample(self._cpu(count), now, self._cpu_window) if "cpu" in wanted else None,
            memory=Sample(self._memory(count), now) if "memory" in wanted else None,
            **(_traffic(pod, now) if "arrivals" in wanted else {}),
        )

    def _cpu(self, sessions: int) -> int:
        return round(sessions * self._cpu_per_session * 1_000)

    def _memory(self, sessions: int) -> int:
        used = BASE_MEMORY + sessions * self._memory_per_session * MEGABYTE
        return round(used * 1_000)


def _grows_older(pod: SimulatedPod) -> bool:
    """Whether the sidecar of the pod tells for how long it has been empty."""
    return pod.ready and pod.marks.cordon is not None and not pod.sessions


def _traffic(pod: SimulatedPod, now: float) -> dict[str, Sample]:
    came, left = (Sample(round(1_000 * rate), now, RATE_WINDOW) for rate in pod.rates(now))
    return {"arrivals": came, "departures": left}


def _state(pod: SimulatedPod, **seen: Any) -> PodState:
    """Return a pod's state: the values of every pod, and those given for this one."""
    return PodState(
        name=f"pod-{pod.number}",
        uid=pod.uid,
        created_at=pod.created_at,
        resources=RESOURCES,
        node=NODE,
        routable=pod.marks.routable,
        cordon=pod.marks.cordon,
        deletion_cost=pod.marks.cost,
        cost_is_ours=pod.marks.cost is not None,
        protected=pod.marks.protected,
        **seen,
    )
