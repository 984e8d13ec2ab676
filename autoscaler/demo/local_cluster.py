"""Replicas as processes of this machine: a Deployment without a cluster, for `autoscaler demo`.

Each replica is a real `bokeh serve` under the real launcher with a real sidecar, as in a pod. The
sidecars' `/state` replaces Prometheus, and victims are chosen as by a ReplicaSet.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Any

from autoscaler.adapters.http.answers import Reply, json_of
from autoscaler.adapters.http.fetching import Page, fetch_all
from autoscaler.adapters.sidecars import LARGEST_ANSWER, occupancy
from autoscaler.core.drain.cleanup import SERVING
from autoscaler.core.drain.deletion_order import deletion_order
from autoscaler.errors import AutoscalerError, ClusterError, TargetNotFoundError
from autoscaler.model import (
    Occupancy,
    PodMarks,
    PodState,
    Resources,
    Sample,
    TargetRef,
    Unavailable,
)
from autoscaler.ports import Clock, Readings, Signal, TargetState

ANSWER_WITHIN = 1.0
STOP_WITHIN = 10.0
# Below the ephemeral ports, which are 32768 and up on Linux and 49152 and up on other systems.
PORTS, PORTS_TRIED = range(15_000, 30_000), 200


@dataclass
class Replica:
    """One server process with its sidecar. Times are Unix seconds of the demo's clock."""

    name: str
    port: int
    sidecar_port: int
    started_at: float
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ready: bool = False
    ready_since: float | None = None
    state: dict[str, Any] | None = None
    asked_at: float = 0.0
    cpu: Sample | None = None
    arrivals: Sample | None = None
    departures: Sample | None = None
    marks: PodMarks = SERVING

    @property
    def sessions(self) -> int | None:
        """Connected sessions in the sidecar's last answer; None if it does not answer."""
        return None if self.state is None else _connected(self.state)

    @property
    def gone(self) -> bool:
        """Whether the server process has ended."""
        return bool(self.processes) and self.processes[0].poll() is not None


class LocalCluster:
    """Implements `ports.Cluster`, `ports.Sidecars` and `ports.MetricsSource` for one target.

    pace: how many times as fast as the sidecars' clock `clock` runs.
    """

    def __init__(
        self, ref: TargetRef, app: Path, clock: Clock, logs: Path, pace: float = 1.0
    ) -> None:
        self._pace = pace
        self._ref = ref
        self._app = app
        self._clock = clock
        self._logs = logs
        self._replicas: list[Replica] = []
        self._ending: list[Replica] = []
        self._wanted = 0
        self._count = 0
        self._version = 0
        self._lock = threading.Lock()

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """The replicas that are not being removed."""
        with self._lock:
            return tuple(self._replicas)

    def start(self, replicas: int) -> None:
        """Start the given number of replicas."""
        self._set(replicas)

    def observe(
        self, refs: Iterable[TargetRef]
    ) -> Mapping[TargetRef, TargetState | AutoscalerError]:
        """Ask every sidecar, and return the replicas as the pods of a Deployment."""
        self.refresh()
        missing = "there is no such Deployment; the demo has only its own"
        return {
            ref: self._target() if ref == self._ref else TargetNotFoundError(f"{ref}: {missing}")
            for ref in refs
        }

    def read_target(self, ref: TargetRef) -> TargetState | AutoscalerError:
        """Do the same for one target."""
        return self.observe([ref])[ref]

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        """Start processes, or end those that a ReplicaSet would delete."""
        if not dry_run:
            self._set(replicas)

    def mark_pod(self, state: TargetState, pod: PodState, marks: PodMarks) -> None:
        """Store the marks; new users are sent only to replicas that are not cordoned."""
        for replica in self.replicas:
            if replica.name == pod.uid:
                replica.marks = marks

    def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy | Unavailable]:
        """Return the occupancy that the sidecars of these replicas report now."""
        wanted = {pod.uid for pod in pods}
        asked = [replica for replica in self.replicas if replica.name in wanted]
        with ThreadPoolExecutor(16) as pool:
            answers = zip(asked, pool.map(_state_of, asked), strict=True)
            return {
                replica.name: self._paced(occupancy(state))
                for replica, state in answers
                if state is not None
            }

    def _paced(self, seen: Occupancy | Unavailable) -> Occupancy | Unavailable:
        if isinstance(seen, Unavailable):
            return seen
        empty = None if seen.empty_for is None else seen.empty_for * self._pace
        idle = None if seen.idle_for is None else seen.idle_for * self._pace
        return seen._replace(empty_for=empty, idle_for=idle)

    def announce(
        self, ref: TargetRef, uid: str, reason: str, message: str, *, warning: bool
    ) -> None:
        """Do nothing: the demo prints every change, and there are no Events."""

    def read(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
    ) -> Readings:
        """Return the samples that the last `observe` read."""
        namespace = self._ref.namespace
        sessions, cpu, memory = {}, {}, {}
        arrivals, departures = {}, {}
        for replica in self.replicas:
            key = (namespace, replica.name)
            if replica.state is None or not replica.ready:
                continue
            sessions[key] = Sample(replica.sessions or 0, replica.asked_at)
            if replica.cpu is not None:
                cpu[key] = replica.cpu
            if replica.arrivals is not None and replica.departures is not None:
                arrivals[key], departures[key] = replica.arrivals, replica.departures
            used = replica.state["memory"]["rss_bytes"]
            if used is not None:
                memory[key] = Sample(int(used) * 1000, replica.asked_at)
        samples: dict[tuple[Signal, str], dict[tuple[str, str], Sample]] = {
            ("sessions", "exporter"): sessions,
            ("cpu", "exporter"): cpu,
            ("memory", "exporter"): memory,
            ("arrivals", "exporter"): arrivals,
            ("departures", "exporter"): departures,
        }
        no_queries = Unavailable("the demo has no Prometheus for queries")
        return Readings(samples, dict.fromkeys(queries, no_queries))

    def refresh(self) -> None:
        """Ask all sidecars concurrently, and replace replicas whose server has ended."""
        with self._lock:
            ended = [replica for replica in self._replicas if replica.gone]
            self._replicas = [replica for replica in self._replicas if not replica.gone]
        for replica in ended:
            _end(replica)
        if ended:
            self._set(self._wanted)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(self._ask, self.replicas))

    def stop(self) -> None:
        """End all processes that were started here."""
        with self._lock:
            leaving = [*self._replicas, *self._ending]
            self._replicas, self._ending = [], []
        for replica in leaving:
            for process in replica.processes:
                process.terminate()
        for replica in leaving:
            _end(replica)

    def _set(self, replicas: int) -> None:
        self._wanted = replicas
        self._version += 1
        with self._lock:
            while len(self._replicas) < replicas:
                self._replicas.append(self._launch())
            order = deletion_order(map(_pod, self._replicas), self._clock.now())
            going = {pod.uid for pod in order[: len(self._replicas) - replicas]}
            for victim in [replica for replica in self._replicas if replica.name in going]:
                self._replicas.remove(victim)
                self._ending.append(victim)
                threading.Thread(target=_end, args=(victim,), daemon=True).start()

    def _launch(self) -> Replica:
        self._count += 1
        name = f"{self._ref.deployment}-{self._count}"
        port, sidecar_port = _free_port(), _free_port()
        replica = Replica(name, port, sidecar_port, self._clock.now())
        serve = ["serve", str(self._app), "--port", str(port), "--address", "127.0.0.1"]
        exporter = [sys.executable, "-m", "exporter"]
        server = [*exporter, "launch", "--instance", name, "--resources", "process"]
        server += ["--drain-deadline", "5s", "--"]
        server += [sys.executable, "-m", "bokeh", *serve, "--allow-websocket-origin", "*"]
        sidecar = [*exporter, "sidecar", "--instance", name, "--port", str(sidecar_port)]
        sidecar += ["--app-port", str(port)]
        with (self._logs / f"{name}.log").open("wb") as log:
            replica.processes = [
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                for command in (server, sidecar)
            ]
        return replica

    def _ask(self, replica: Replica) -> None:
        before, now = replica.state, self._clock.now()
        replica.state = _state_of(replica)
        ready = replica.state is not None and bool(replica.state["ready"])
        if ready != replica.ready:
            replica.ready, replica.ready_since = ready, now
        if before is not None and replica.state is not None:
            replica.cpu = _rate(before, replica.state, now)
            elapsed = max(1e-3, now - replica.asked_at)
            change = _connected(replica.state) - _connected(before)
            replica.arrivals = Sample(round(1000 * max(0, change) / elapsed), now, elapsed)
            replica.departures = Sample(round(1000 * max(0, -change) / elapsed), now, elapsed)
        replica.asked_at = now

    def _target(self) -> TargetState:
        replicas = self.replicas
        pods = tuple(_pod(replica) for replica in replicas)
        version = str(self._version)
        return TargetState(self._ref, "demo", version, self._wanted, len(pods), pods)


def _connected(state: Mapping[str, Any]) -> int:
    return int(state["sessions"]["connected"])


def _pod(replica: Replica) -> PodState:
    return PodState(
        name=replica.name,
        uid=replica.name,
        ready=replica.ready,
        ready_since=replica.ready_since or replica.started_at,
        started_at=replica.started_at,
        created_at=replica.started_at,
        resources=Resources(1_000, 512 * 1024**2 * 1000, 512 * 1024**2 * 1000),
        node="here",
        routable=replica.marks.routable,
        cordon=replica.marks.cordon,
        deletion_cost=replica.marks.cost,
        cost_is_ours=replica.marks.cost is not None,
    )


def _rate(before: Mapping[str, Any], after: Mapping[str, Any], now: float) -> Sample | None:
    """Return the CPU used between two answers in millicores, by real seconds."""
    elapsed = after["at"] - before["at"]
    used = after["cpu"]["seconds_total"] - before["cpu"]["seconds_total"]
    if elapsed <= 0 or used < 0:
        return None
    return Sample(round(1000 * used / elapsed), now, elapsed)


def _state_of(replica: Replica) -> dict[str, Any] | None:
    page = Page("127.0.0.1", replica.sidecar_port, "/state")
    [reply] = fetch_all([page], within=ANSWER_WITHIN, largest=LARGEST_ANSWER)
    if not isinstance(reply, Reply) or reply.status != 200:
        return None
    try:
        state = json_of(reply.body)
    except ValueError:
        return None
    return state if isinstance(state, dict) else None


def _end(replica: Replica) -> None:
    """End the server first and then the sidecar, which so reports the drain to its end."""
    for process in replica.processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    """Return a free port. Raises ClusterError.

    It is not an ephemeral one, which a connection could take before the server listens.
    """
    for port in SystemRandom().sample(PORTS, PORTS_TRIED):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise ClusterError(f"found no free port on 127.0.0.1 after trying {PORTS_TRIED} ports")
