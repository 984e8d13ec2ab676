"""A cluster in memory, with users: a Deployment, its controllers, sidecars and scrapes.

It has what shrinks go wrong by: users who are sent to a pod long after it was cordoned, pages that
load, connections that break or fall silent and come back, controllers and informers that are late,
calls that are slow, writes that fail before or after they took effect, and other people's hands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import partial
from typing import Any, Literal

from autoscaler.adapters.kubernetes.pods import marks_patch
from autoscaler.adapters.sidecars import occupancy
from autoscaler.errors import AutoscalerError, ClusterError, ConflictError
from autoscaler.model import Occupancy, PodMarks, PodState, Sample, TargetRef, Unavailable
from autoscaler.ports import LeadershipStatus, Readings, Signal, TargetState
from tests.drain.model_deployment import INTERVAL, Late, ModelDeployment, Shrink
from tests.drain.model_pod import Pod
from tests.drain.model_time import DaemonClock
from tests.drain.model_users import Session, in_states

__all__ = ["INTERVAL", "Crash", "Fault", "Late", "ModelCluster"]

REF = TargetRef("bokeh", "bokeh-app")
# Seconds for which new users are still sent to a pod that was cordoned, by proxies that cache what
# DNS said. Without a launcher `settle` must cover it.
ROUTED_LATE = 30.0
KEPT_ALIVE = 120.0  # seconds for which they come over connections that are kept alive
SCRAPED_BEFORE = 2.0  # seconds before a pass
ANSWERS_WITHIN = 2.0  # seconds: later is no answer
Kind = Literal["note", "scale", "any"]
Watched = Literal["deployment", "pods"]
Call = Literal["read", "observe", "ask", "note", "commit", "scale"]


class Crash(BaseException):
    """The daemon dies here; no handler of its own sees it."""


@dataclass(frozen=True)
class Fault:
    """What becomes of one of the next writes of a kind, `after` so many that go well.

    effect: it is carried out although the daemon crashes, or is told that it failed: at once, or so
    many seconds late; None: never.
    """

    kind: Kind
    after: int
    effect: float | None
    crash: bool


class ModelCluster(ModelDeployment):
    """Implements `ports.Cluster`, `Sidecars`, `MetricsSource` and `Leadership`, with users.

    least: no shrink of ours may go below. fault: of a write to come. other_autoscaler: as observed.
    hasty: users who come at the very moment of the next shrink. early: those who come when it is
    written down, right before. writes: how many there were. clock: the daemon's own. slow: seconds
    that each call of a kind takes. routed_late: for so long new users are sent to a cordoned pod.
    dated: whether the API server's answers say when they were made. watched: whether the daemon
    sees what it watches, and not what it lists; silent: what watches say nothing of at the moment.
    """

    def __init__(self, replicas: int, least: int, *, launcher: bool = False) -> None:
        super().__init__(replicas, launcher=launcher)
        self.clock = DaemonClock(self)
        self.least = least
        self.fault: Fault | None = None
        self.other_autoscaler: str | None = None
        self.hasty: list[int] = []
        self.early: list[int] = []
        self.routed_late = ROUTED_LATE
        self.slow: dict[Call, float] = {}
        self.dated = True
        self.watched = False
        self.silent: frozenset[Watched] = frozenset()
        self._cached: TargetState | None = None
        self._cached_at = 0.0
        self._is_behind = False  # after our own write
        self.writes = 0
        self._open: set[str] = set()  # where new users can go, as far as the daemon knows

    # What the daemon sees and does.

    def seek(
        self,
        wanted: Mapping[str, frozenset[str]],
        set_clock: Callable[[], None],
        busy: Collection[str] = (),
    ) -> Mapping[str, LeadershipStatus]:
        return {}

    def confirm(self, namespace: str) -> None:
        pass

    def commit(self, namespace: str) -> None:
        for each in self.early:
            self.arrive(each, opens_in=1.0)
        self.early = []
        self._take("commit")

    def _take(self, call: Call) -> None:
        """The seconds that a call takes; users, controllers and other hands go on meanwhile."""
        sent = self.time
        self.advance(self.slow.get(call, 0.0))
        if self.dated and call != "read":
            self.clock.hear(sent, formatdate(self.wall, usegmt=True))

    def observe(
        self, refs: Iterable[TargetRef]
    ) -> Mapping[TargetRef, TargetState | AutoscalerError]:
        """As it was watched, or, where nothing is, as it is when the call begins."""
        if self.watched and self._cached is not None and not self._is_behind:
            return dict.fromkeys(refs, self._watch(self._cached))
        return {ref: self.read_target(ref) for ref in refs}

    def start_watching(self) -> None:
        """A daemon that starts knows nothing before it has listed everything."""
        self._cached, self._is_behind = None, False

    def _watch(self, before: TargetState) -> TargetState:
        now = self._state()
        if "pods" in self.silent:
            now = replace(now, pods=before.pods)
        if "deployment" in self.silent:
            now = replace(before, pods=now.pods)
        if not self.silent:
            self._read(now)
        self._cached = now
        self._open = {pod.uid for pod in now.pods if pod.routable and pod.serving}
        return replace(now, confirmed_at=self.clock.now() - (self.time - self._cached_at))

    def read_target(self, ref: TargetRef) -> TargetState | AutoscalerError:
        """As it is when the call begins."""
        state = self._state()
        self._cached, self._is_behind = state, False
        self._read(state)
        self._take("observe")
        return state

    def _read(self, state: TargetState) -> None:
        """All of it was seen as it is now."""
        self._cached_at = self.time
        self._open = {pod.uid for pod in self.pods if pod.is_open}
        for pod in self.pods:
            pod.cost_unread = False

    def _learn(self, patched: PodState) -> None:
        """The answer to a patch says how the pod is then; of the others it says nothing."""
        if self._cached is not None:
            pods = (patched if pod.uid == patched.uid else pod for pod in self._cached.pods)
            self._cached = replace(self._cached, pods=tuple(pods))

    def _state(self) -> TargetState:
        return TargetState(
            REF,
            "uid-1",
            str(self.version),
            self.replicas,
            len(self.pods),
            tuple(pod.seen for pod in (*self.pods, *self.ending, *self.dead)),
            rollout_in_progress=self.unseen or self.rolls,
            other_autoscaler=self.other_autoscaler,
            replicas_writer=self.replicas_writer,
        )

    def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy | Unavailable]:
        """As it is when they are asked; one that takes longer than it may has not answered."""
        asked = {pod.uid for pod in pods}
        there = [pod for pod in (*self.pods, *self.ending) if pod.uid in asked]
        late = self.slow.get("ask", 0.0)
        said: dict[str, Occupancy | Unavailable] = {
            pod.uid: occupancy(pod.state(self.time))
            if pod.sidecar in ("answers", "not ready") and late <= ANSWERS_WITHIN
            else Unavailable("no answer in time")
            for pod in there
        }
        if any(pod.sidecar == "late" for pod in there):
            late = ANSWERS_WITHIN
        self.advance(min(late, ANSWERS_WITHIN))
        return said

    def read(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
    ) -> Readings:
        self._take("read")
        fresh = {
            (REF.namespace, pod.seen.name): pod
            for pod in self.pods
            if pod.sample is not None and self.wall - pod.sample.at <= 2 * INTERVAL
        }
        moves = {
            "sessions": lambda pod: pod.sample,
            "arrivals": lambda pod: pod.sample._replace(value=pod.arrived(self.time)),
            "departures": lambda pod: pod.sample._replace(value=0),
        }
        return Readings(
            {
                (signal, "exporter"): {key: of(pod) for key, pod in fresh.items()}
                for signal, of in moves.items()
            }
        )

    def announce(
        self, ref: TargetRef, uid: str, reason: str, message: str, *, warning: bool
    ) -> None:
        pass

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        sent = self.time
        self._take("scale")
        if state.resource_version != str(self.version):
            self._is_behind = True
            raise ConflictError(f"{REF} has changed since it was read")
        self._write("scale", lambda: self._scale(state.resource_version, replicas, sent))
        self._is_behind = True

    def _scale(self, version: str, replicas: int, sent: float) -> None:
        if version != str(self.version):
            return  # it comes too late
        if replicas < self.replicas:
            for each in self.hasty:
                self.arrive(each, opens_in=1.0)
            self.hasty = []
            self._scale_down = Shrink(sent)
            self._judge_scale(replicas)
        self.replicas_writer = ""
        self.edit(replicas)

    def _judge_scale(self, replicas: int) -> None:
        if replicas < self.least:
            self.problems.append(f"scaled to {replicas}, below the minimum of {self.least}")
        if self.rolls:
            self.problems.append("shrunk in the middle of a rollout")

    def mark_pod(self, state: TargetState, pod: PodState, marks: PodMarks) -> None:
        self._take("note")
        found = next((each for each in (*self.pods, *self.ending) if each.uid == pod.uid), None)
        if found is None:
            return
        known = self._open
        self._open = known | {pod.uid} if marks.routable and pod.serving else known - {pod.uid}
        if known and not self._open:
            self.problems.append(f"{pod.name} was the last that new users could go to")
        patch = marks_patch(pod, marks)["metadata"]
        if found.has_changed(patch):
            self._is_behind = True
            raise ConflictError(f"{pod.name} has changed since it was read")
        self._write("note", partial(self._note, found, patch))
        self._learn(found.seen)

    def _note(self, found: Pod, patch: Mapping[str, Any]) -> None:
        """Our patch of a pod takes effect, unless the pod has changed by then."""
        if not found.has_changed(patch):
            found.patch(patch["labels"], patch["annotations"], self.time, self.wall)

    def _write(self, kind: Kind, change: Callable[[], None]) -> None:
        """Carry a change out, unless the fault that waits for it says otherwise."""
        self.writes += 1
        fault = self.fault
        if fault is None or fault.kind not in (kind, "any"):
            change()
        elif fault.after:
            self.fault = replace(fault, after=fault.after - 1)
            change()
        else:
            self.fault = None
            if kind == "scale":  # load returns while nobody knows whether the scale took effect
                for each in self.hasty:
                    self.later(1.0, partial(self.arrive, each, 1.0))
            self._fail(fault, change)

    def _fail(self, fault: Fault, change: Callable[[], None]) -> None:
        self._is_behind = True
        if fault.effect == 0:
            change()
        elif fault.effect is not None:
            self.later(fault.effect, change)
        if fault.crash:
            raise Crash
        raise ClusterError("no answer from the Kubernetes API")

    # What time brings.

    def interval(self) -> None:
        """To the next pass, also where the last one took longer than an interval."""
        self.advance(INTERVAL - self.time % INTERVAL)

    def tick(self) -> None:
        for pod in (*self.pods, *self.ending):
            pod.users.let_time_pass(self.time)
        if self.time % INTERVAL == INTERVAL - SCRAPED_BEFORE:
            for pod in self.pods:
                if pod.scraped:
                    pod.sample = Sample(pod.count("live", "paused"), self.wall)
        if self.time % INTERVAL == 0:
            self.run_controllers()
        self._end()

    def set_clock_by(self, seconds: float) -> None:
        """Everybody's wall clock."""
        self.set_wall_by(seconds)
        self.clock.set_by(seconds)
        for pod in self.pods:
            if pod.sample is not None:
                pod.sample = pod.sample._replace(at=pod.sample.at + seconds)

    # Users.

    def by_cordon(self) -> list[Pod]:
        """Those that leave first, where most can go wrong."""
        return sorted(self.pods, key=lambda pod: pod.seen.routable)

    def arrive(self, which: int, opens_in: float | None = None, takes: float = 0.0) -> None:
        """A user asks for a page, which takes so many seconds, and later opens its WebSocket.

        opens_in None: for a file. From one of the pods where a proxy may still send users, for it
        learns of a cordon late.
        """
        since = self.time - self.routed_late
        if pods := [pod for pod in self.by_cordon() if pod.is_open or pod.open_until >= since]:
            pod = pods[which % len(pods)]
            session = Session("requesting", self.time + takes, opens_in, self.time)
            session.astray = not pod.is_open
            pod.users.add(session)
            pod.users.let_time_pass(self.time)  # a page that takes no time is under way at once

    def users(self, *states: str) -> list[tuple[Pod, Session]]:
        """Of pods that are there, those that leave first; all states where none is named."""
        return [(p, s) for p in self.by_cordon() for s in in_states(p.sessions, *states)]
