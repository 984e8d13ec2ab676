"""A cluster in memory, with users: a Deployment, its controllers, sidecars and scrapes.

It has what shrinks go wrong by: users who are sent to a pod some seconds after it was cordoned,
pages that load, connections that break and come back, controllers that are late, writes that fail
before or after they took effect, and other people's hands. It keeps count of the sessions that end
because of us, and of everything else that must not happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from autoscaler.adapters.pods import DELETION_COST, ROUTABLE, note_patch
from autoscaler.core.deletion_order import deletion_order
from autoscaler.core.vacancy import is_foreign
from autoscaler.errors import AutoscalerError, ClusterError, ConflictError
from autoscaler.model import Occupancy, PodNote, PodState, Sample, TargetRef
from autoscaler.ports import Readings, Signal, TargetState
from tests.drain.model_pod import Pod, Session, new_pod
from tests.fakes import FakeClock

REF = TargetRef("bokeh", "bokeh-app")
ROUTED_LATE = 10.0  # seconds for which proxies still send users to a pod that was cordoned
INTERVAL, SCRAPED_BEFORE = 5.0, 2.0  # of the passes, and how long before each the scrapes are
Late = Literal["nobody", "replicasets", "everybody"]


class Crash(BaseException):
    """The daemon dies here; no handler of its own sees it."""


@dataclass(frozen=True)
class Fault:
    """What becomes of one of the next writes of a kind, `after` so many that go well.

    effect: it is carried out although the daemon crashes, or is told that it failed: at once, or so
    many seconds late; None: never.
    """

    kind: Literal["note", "scale", "any"]
    after: int
    effect: float | None
    crash: bool


class ModelDeployment:
    """The pods of one Deployment and the controllers that make and remove them.

    problems: what must not happen. has_room: new pods find a node.
    """

    def __init__(self, replicas: int) -> None:
        self.clock = FakeClock()
        self.pods: list[Pod] = []
        self.replicas = replicas
        self.problems: list[str] = []
        self.has_room = True
        self.version = 1
        self.unseen = False  # the Deployment's controller has not seen the latest spec
        self._template = 1
        self._made = 0
        self._late: Late = "nobody"
        self._late_until = 0.0
        self._excused = 0  # pods that others ask to be removed, or put before those that we chose
        self.run_controllers()
        self.run_controllers()

    @property
    def rolls(self) -> bool:
        """Whether pods of two templates are there, or are about to be."""
        return {pod.template for pod in self.pods} | {str(self._template)} != {str(self._template)}

    @property
    def surplus(self) -> int:
        return len(self.pods) - self.replicas

    @property
    def shrinks(self) -> bool:
        """Whether pods are yet to be removed."""
        return self.surplus > 0

    def first_to_go(self, count: int) -> list[Pod]:
        by_uid = {pod.uid: pod for pod in self.pods}
        order = deletion_order([pod.seen for pod in self.pods], self.clock.at)
        return [by_uid[seen.uid] for seen in order[: max(0, count)]]

    def going(self) -> list[Pod]:
        """Those that a ReplicaSet that is late is yet to remove."""
        of_several = len({pod.template for pod in self.pods}) > 1
        return [] if of_several else self.first_to_go(self.surplus)

    def edit(self, replicas: int) -> None:
        self.unseen = self.unseen or replicas != self.replicas
        self.replicas = replicas
        self.version += 1
        if self.late == "nobody":
            self._follow_scale()

    # Controllers.

    def delay(self, who: Late, passes: int) -> None:
        """These controllers do nothing for so many intervals."""
        self._late, self._late_until = who, self.clock.at + passes * INTERVAL

    @property
    def late(self) -> Late:
        return self._late if self.clock.at < self._late_until else "nobody"

    def run_controllers(self) -> None:
        """What those that are not late do: one step of a rollout, pods made and removed."""
        if self.late == "everybody":
            return
        self.unseen = False
        if self.late == "replicasets":
            return
        for pod in self.pods:
            if pod.seen.phase == "Pending" and self.has_room:
                self.version += pod.run(True, self.clock.at)
        self._follow_scale()
        self._roll()

    def _follow_scale(self) -> None:
        if self.rolls:
            return  # the rollout ends with the right number
        surplus = self.surplus
        for pod in self.going():
            if pod.sessions and self._excused == 0:
                self.problems.append(f"{pod.seen.name} went with {len(pod.sessions)} users")
            self._excused -= bool(pod.sessions and self._excused)
            self.pods.remove(pod)
        self.pods += [self._new_pod() for _ in range(-surplus)]
        if not self.shrinks:
            self._excused = 0
        self.version += surplus != 0

    def _roll(self) -> None:
        """One pod more of the newest template, then one less of an older: their users are told."""
        old = [pod for pod in self.pods if pod.template != str(self._template)]
        if not old:
            return
        if self.surplus <= 0:
            self.pods.append(self._new_pod())
        elif all(pod.seen.serving for pod in self.pods if pod not in old):
            going = deletion_order([pod.seen for pod in old], self.clock.at)[0]
            self.pods = [pod for pod in self.pods if pod.uid != going.uid]
        self.version += 1

    def _new_pod(self) -> Pod:
        self._made += 1
        return new_pod(self._made, self._template, self.clock.at)

    # Other people's hands.

    def _excuse(self) -> None:
        """Nobody can help it if the order changes between our last look and the removal.

        The shrink may be on its way to the API server, or the ReplicaSet be late. Then the launcher
        in the pod, which serves on until its users have left, is their net.
        """
        self._excused += self.shrinks

    def set_ready(self, pod: Pod, ready: bool) -> None:
        """Its readiness probe begins to fail, or no longer does."""
        if pod.seen.phase == "Running":
            self._excuse()
            self.version += pod.run(ready, self.clock.at)

    def set_cost(self, pod: Pod, cost: int | None) -> None:
        """Somebody else writes the deletion cost, or removes it."""
        self._excuse()
        pod.patch({}, {DELETION_COST: None if cost is None else str(cost)}, self.clock.at)

    def remove_foreign_cost(self, pod: Pod) -> None:
        if is_foreign(pod.seen):
            self.set_cost(pod, None)

    def set_label(self, pod: Pod, value: str) -> None:
        """Somebody lets users go to the pod, or keeps them away."""
        self._excuse()
        pod.patch({ROUTABLE: value}, {}, self.clock.at)

    def edit_by_hand(self, replicas: int) -> None:
        self._excused += max(0, self.replicas - replicas)
        self.edit(replicas)

    def roll_out(self) -> None:
        self._template += 1
        self.version += 1
        self.unseen = True

    def lose(self, pod: Pod) -> None:
        """Its node dies, or somebody deletes it."""
        self.pods.remove(pod)
        self.version += 1


class ModelCluster(ModelDeployment):
    """Implements `ports.Cluster`, `ports.Sidecars` and `ports.MetricsSource`, with users.

    least: no shrink of ours may go below. fault: of a write to come. rival: another autoscaler.
    hasty: users who come at the very moment of the next shrink. writes: how many there were.
    """

    def __init__(self, replicas: int, least: int) -> None:
        self._landing: list[tuple[float, str, Callable[[], None]]] = []
        super().__init__(replicas)
        self.least = least
        self.fault: Fault | None = None
        self.rival: str | None = None
        self.hasty: list[int] = []
        self.writes = 0

    @property
    def shrinks(self) -> bool:
        return super().shrinks or any(kind == "scale" for _, kind, _ in self._landing)

    # What the daemon sees and does.

    def observe(
        self, refs: Iterable[TargetRef]
    ) -> Mapping[TargetRef, TargetState | AutoscalerError]:
        state = TargetState(
            REF,
            "uid-1",
            str(self.version),
            self.replicas,
            len(self.pods),
            tuple(pod.seen for pod in self.pods),
            rollout_in_progress=self.unseen or self.rolls,
            rival=self.rival,
        )
        return dict.fromkeys(refs, state)

    def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy]:
        asked, now = {pod.uid for pod in pods}, self.clock.at
        return {p.uid: p.occupancy(now) for p in self.pods if p.uid in asked and p.answers}

    def read(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
    ) -> Readings:
        fresh = {
            (REF.namespace, pod.seen.name): pod.sample
            for pod in self.pods
            if pod.sample is not None and now - pod.sample.at <= 2 * INTERVAL
        }
        return Readings({("sessions", "exporter"): fresh})

    def announce(self, state: TargetState, reason: str, message: str, *, warning: bool) -> None:
        pass

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        if state.resource_version != str(self.version):
            raise ConflictError(f"{REF} was changed meanwhile")
        self._write("scale", lambda: self._scale(state.resource_version, replicas))

    def _scale(self, version: str, replicas: int) -> None:
        if version != str(self.version):
            return  # it comes too late
        if replicas < self.replicas:
            for each in self.hasty:
                self.arrive(each, opens_in=1.0)
            self.hasty = []
            self._judge_shrink(replicas)
        self.edit(replicas)

    def _judge_shrink(self, replicas: int) -> None:
        if replicas < self.least:
            self.problems.append(f"scaled to {replicas}, below the minimum of {self.least}")
        if self.rolls:
            self.problems.append("shrunk in the middle of a rollout")
        for pod in self.first_to_go(len(self.pods) - replicas):
            if pod.sessions and not self._excused:
                self.problems.append(f"{pod.seen.name} is to go, with {len(pod.sessions)} users")

    def note(self, state: TargetState, pod: PodState, note: PodNote) -> None:
        found = next((each for each in self.pods if each.uid == pod.uid), None)
        if found is None:
            return
        others = [each for each in self.pods if each.is_open and each is not found]
        if found.is_open and not note.routable and not others:
            self.problems.append(f"{pod.name} was the last that new users could go to")
        patch = note_patch(pod, note)["metadata"]
        change = partial(found.patch, patch["labels"], patch["annotations"])
        self._write("note", lambda: change(self.clock.at))

    def _write(self, kind: str, change: Callable[[], None]) -> None:
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
            self._fail(fault, kind, change)

    def _fail(self, fault: Fault, kind: str, change: Callable[[], None]) -> None:
        if fault.effect is not None:
            self._landing.append((self.clock.at + fault.effect, kind, change))
            self._land()
        if fault.crash:
            raise Crash
        raise ClusterError("the API does not answer")

    # What time brings.

    def interval(self) -> None:
        """From one pass to the next, with a scrape in between."""
        self._advance(INTERVAL - SCRAPED_BEFORE)
        for pod in self.pods:
            if pod.scraped:
                pod.sample = Sample(pod.count("live"), self.clock.at)
        self._advance(SCRAPED_BEFORE)
        self.run_controllers()

    def _advance(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.clock.advance(1.0)
            self._land()
            for pod in self.pods:
                pod.let_time_pass(self.clock.at)

    def set_clock_by(self, seconds: float) -> None:
        """Everybody's wall clock; what is on its way comes no sooner by that."""
        self.clock.set_by(seconds)
        self._late_until += seconds
        self._landing = [(at + seconds, kind, change) for at, kind, change in self._landing]
        for pod in self.pods:
            pod.follow_clock(seconds)

    def _land(self) -> None:
        """Changes without an answer take effect, of pods that are still there."""
        over = [change for at, _, change in self._landing if at <= self.clock.at]
        self._landing = [each for each in self._landing if each[0] > self.clock.at]
        for change in over:
            change()

    # Users.

    def by_cordon(self) -> list[Pod]:
        """Those that leave first, where most can go wrong."""
        return sorted(self.pods, key=lambda pod: pod.seen.routable)

    def arrive(self, which: int, opens_in: float) -> None:
        """A user gets a page, and so many seconds later its WebSocket.

        From one of the pods where a proxy may still send users, for it learns of a cordon late.
        """
        late = self.clock.at - ROUTED_LATE
        if pods := [pod for pod in self.by_cordon() if pod.is_open or pod.open_until >= late]:
            session = Session("opening", self.clock.at + opens_in)
            pods[which % len(pods)].sessions.append(session)

    def users(self, *states: str) -> list[tuple[Pod, Session]]:
        return [(p, s) for p in self.by_cordon() for s in p.sessions if s.state in states]
