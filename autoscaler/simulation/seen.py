"""What a policy sees of the simulated fleet: the values that the daemon reads of a real one."""

from __future__ import annotations

from math import inf
from typing import Any

from autoscaler.control.observation import read_signals, required_queries
from autoscaler.core.now import MARGIN
from autoscaler.model import Observation, Occupancy, PodState, Resources, Sample
from autoscaler.policy import Policy
from autoscaler.simulation.fleet import RATE_WINDOW, SimulatedFleet, SimulatedPod
from autoscaler.simulation.scrapes import Scrape
from autoscaler.simulation.timeline import Phase

MEGABYTE = 1_000_000
# A pod requests one core and has a limit of 1 GiB (in milli-units, as everywhere in the core).
RESOURCES = Resources(1_000, 1_024**3 * 1_000, 1_024**3 * 1_000)
NODE = "node-1"
BASE_MEMORY = 200 * MEGABYTE


class Observer:
    """Observes a fleet for one policy: pods as they are, and samples as old as the last scrape.

    It makes the state of a pod anew only if something in it has changed. So a sample has the time
    of the first scrape that saw its value.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        cpu_per_session: float,
        cpu_window: float,
        memory_per_session: float,
        fresh_for: float,
    ) -> None:
        self._wanted, self._queries = read_signals(policy), required_queries(policy)
        self._reads_rates = not self._wanted.keys().isdisjoint({"cpu", "arrivals"})
        self._cpu_per_session, self._cpu_window = cpu_per_session, cpu_window
        self._memory_per_session = memory_per_session
        self._fresh_for = fresh_for

    def observe(self, fleet: SimulatedFleet, replicas: int, now: float) -> Observation:
        """Return what a pass at `now` sees, and note when a later one may see something else."""
        pods = tuple(
            [
                pod.state if pod.state is not None and now < pod.news_at else self._seen(pod, now)
                for pod in fleet.pods.values()
            ]
        )
        fleet.news_at = min([pod.news_at for pod in fleet.pods.values()], default=inf)
        return Observation(
            replicas,
            pods,
            status_replicas=len(pods),
            external=dict.fromkeys(self._queries, Sample(_counted(fleet) * 1_000, now)),
            fresh_for=self._fresh_for,
        )

    def _seen(self, pod: SimulatedPod, now: float) -> PodState:
        if now >= pod.news_at:
            pod.scrape(pod.times.last(now))
            pod.news_at = self._news_at(pod, now)
        state = self._state(pod, now) if pod.state is None else pod.state
        pod.state = None if _grows_older(pod) else state
        return state

    def _news_at(self, pod: SimulatedPod, now: float) -> float:
        """Return when a scrape may see another value of a pod, if nothing happens."""
        if not pod.ready:
            return inf
        following = pod.times.following(now)
        last = pod.scraped
        if last is None or last.sessions != pod.connected:
            return following - MARGIN
        if self._reads_rates and pod.fills_window:
            return following - MARGIN
        if "arrivals" not in self._wanted:
            return inf
        times = [each for each in (pod.came, pod.left) if each]
        if any(each[-1] > last.at for each in times):
            return following - MARGIN
        oldest = min((each[0] for each in times), default=inf)
        return pod.times.following(oldest + RATE_WINDOW - MARGIN) - MARGIN if times else inf

    def _state(self, pod: SimulatedPod, now: float) -> PodState:
        if not pod.ready:
            return _state(pod, phase="Pending", ready=None)
        since = pod.ready_at if pod.left_at is None else pod.left_at
        empty_for = None if pod.sessions else now - since
        occupancy = Occupancy(pod.connected, len(pod.opening), empty_for=empty_for)
        return _state(
            pod,
            ready_since=pod.ready_at,
            started_at=pod.created_at,
            occupancy=occupancy if pod.is_draining else None,
            **(self._samples(pod.scraped) if pod.scraped else {}),
        )

    def _samples(self, seen: Scrape) -> dict[str, Sample]:
        """Return the samples of a scrape that the policy needs."""
        values = {
            "sessions": Sample(seen.sessions, seen.at),
            "cpu": Sample(self._cpu(seen.sessions), seen.at, self._cpu_window),
            "memory": Sample(self._memory(seen.sessions), seen.at),
            "arrivals": Sample(round(1_000 * seen.arrivals), seen.at, RATE_WINDOW),
            "departures": Sample(round(1_000 * seen.departures), seen.at, RATE_WINDOW),
        }
        if seen.oldest_since is not None:
            values["oldest_session"] = Sample(round(seen.oldest_since), seen.at)
        return {name: sample for name, sample in values.items() if name in self._wanted}

    def _cpu(self, sessions: int) -> int:
        return round(sessions * self._cpu_per_session * 1_000)

    def _memory(self, sessions: int) -> int:
        used = BASE_MEMORY + sessions * self._memory_per_session * MEGABYTE
        return round(used * 1_000)


def _grows_older(pod: SimulatedPod) -> bool:
    """Whether the sidecar of the pod tells for how long it has been empty."""
    return pod.phase is Phase.DRAINED


def _counted(fleet: SimulatedFleet) -> int:
    """Return how many sessions the last scrapes of all pods saw."""
    return sum(pod.scraped.sessions for pod in fleet.pods.values() if pod.scraped is not None)


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
