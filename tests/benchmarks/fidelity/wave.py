"""One wave of real users on a real node under our daemon, and the same wave simulated.

`python -m tests.lab.real_node --stack -- python -m tests.benchmarks.fidelity.wave --to FILE` lets
the users come from 5 to 60 and back to 5, to the example app as we ship it behind its Service, and
writes what happened. The simulation gets the users' arrivals and departures, the policy, and the
measured lead times of the pods.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Any, Self

from autoscaler.adapters.kubernetes.pods import pod_state
from autoscaler.core.drain.pods import is_draining
from autoscaler.model import PodState
from autoscaler.policy import Policy
from autoscaler.simulation.engine import Assumptions, simulate
from autoscaler.simulation.front import Placement, WhenFull
from autoscaler.simulation.timeline import Phase, PodLife, StepRecorder, Steps
from autoscaler.simulation.trace import Session, Trace
from tests.benchmarks.watches import watching
from tests.lab.access import Access
from tests.lab.live_cluster import NAMESPACE
from tests.lab.processes import wait_until
from tests.lab.websocket_user import Users
from tests.node.apps import shipped_app
from tests.node.shipped import NAME_LABEL, PATIENCE, SOON, Shipped
from tests.node.waves import CODE, OURS, SEATS, SHORTEST, TICK, Crowd, Visit, level, our_policy

SECONDS = 600.0
SCRAPE_INTERVAL = 5.0  # of the shipped Prometheus
STAYS = 8  # of an average visit, in the length of the wave
LEAVING = (Phase.DRAINING, Phase.DRAINED)
FOLLOWED = f'max(bokeh_autoscaler_policy_desired_replicas{{deployment="{OURS}"}})'


@dataclass(frozen=True)
class Course:
    """What happened in a wave. replicas: by seconds since it began. drains: seconds each."""

    replicas: Steps
    refused: int
    cut: int
    drains: tuple[float, ...]


@dataclass(frozen=True)
class Recording:
    """A wave on the node, and what the simulation needs of it: its length, sessions, lead times."""

    seconds: float
    course: Course
    sessions: tuple[Session, ...]
    lead_times: tuple[float, ...]

    @classmethod
    def read(cls, file: Path) -> Self:
        told = json.loads(file.read_text())
        course = told["course"]
        steps = Steps(*map(tuple, course["replicas"]))
        return cls(
            told["seconds"],
            Course(steps, course["refused"], course["cut"], tuple(course["drains"])),
            tuple(Session(*each) for each in told["sessions"]),
            tuple(told["lead_times"]),
        )

    @property
    def lead_time(self) -> tuple[float, float]:
        """The median, and the time that the slowest 5 % exceed."""
        return median(self.lead_times), quantiles(self.lead_times, n=20, method="inclusive")[-1]


class PodWatch:
    """The lives of an app's pods, as the API server tells of them."""

    def __init__(self) -> None:
        self._lives: dict[str, PodLife] = {}

    def see(self, kind: str, pod: Mapping[str, Any]) -> None:
        now, state = time.time(), pod_state(pod)
        first = PodLife(len(self._lives), [(now, _phase(state))])
        life = self._lives.setdefault(state.uid, first)
        if life.ended_at is not None:
            return
        if kind == "DELETED" or state.deleting:
            life.ended_at = now
        elif (phase := _phase(state)) is not life.phase:
            life.phases.append((now, phase))

    def lives(self) -> list[PodLife]:
        return list(self._lives.values())


def _phase(pod: PodState) -> Phase:
    if not pod.serving:
        return Phase.STARTING
    return Phase.DRAINING if is_draining(pod) else Phase.BUSY


def drain_times(lives: Iterable[PodLife]) -> tuple[float, ...]:
    """Return the seconds from each cordon to the deletion that followed it."""
    return tuple(
        life.ended_at - _leaving_since(life)
        for life in lives
        if life.ended_at is not None and life.phase in LEAVING
    )


def _leaving_since(life: PodLife) -> float:
    *_, (since, _phase) = takewhile(lambda each: each[1] in LEAVING, reversed(life.phases))
    return since


def lead_times(lives: Iterable[PodLife]) -> tuple[float, ...]:
    """Return the seconds from the creation of each pod until it was Ready."""
    return tuple(
        life.phases[1][0] - life.phases[0][0]
        for life in lives
        if life.phases[0][1] is Phase.STARTING and len(life.phases) > 1
    )


def record(shipped: Shipped, seconds: float, seed: int) -> Recording:
    """Let the wave come; takes as long as it lasts, and two minutes before it."""
    objects = shipped_app(OURS, CODE)
    shipped.apply(objects)
    shipped.await_service(OURS)
    shipped.write_policy(OURS, our_policy(seconds))
    wait_until(lambda: shipped.prometheus(FOLLOWED) is not None, SOON, "the daemon to follow")
    crowd = Crowd(shipped, OURS, Random(seed), seconds / STAYS)
    recording = _record(shipped, crowd, seconds)
    shipped.write_policy(OURS, None)
    shipped.remove(objects)
    return recording


def _record(shipped: Shipped, crowd: Crowd, seconds: float) -> Recording:
    core, apps, pods = shipped.cluster.core, shipped.cluster.apps, PodWatch()
    replicas = StepRecorder()

    def note(_: str, deployment: Mapping[str, Any]) -> None:
        replicas.set(time.time() - began, deployment["spec"]["replicas"])

    of_pods = partial(core.list_namespaced_pod, label_selector=f"{NAME_LABEL}={OURS}")
    by_name = {"field_selector": f"metadata.name={OURS}"}
    of_deployment = partial(apps.list_namespaced_deployment, **by_name)
    began = time.time()
    with watching(of_pods, NAMESPACE, pods.see), watching(of_deployment, NAMESPACE, note):
        while (now := time.time() - began) < seconds:
            crowd.fill_up(level(now, seconds), until=began + seconds + SHORTEST)
            time.sleep(TICK)
        # What happens while the last users leave is no part of the wave.
        steps, lives = replicas.steps(), pods.lives()
        drains, waits = drain_times(lives), lead_times(lives)
    crowd.go_home()
    refused = sum(visit.refused for visit in crowd.visits)
    cut = sum(visit.lost is not None for visit in crowd.visits)
    sessions = tuple(_session(visit, began) for visit in crowd.visits)
    return Recording(seconds, Course(steps, refused, cut, drains), sessions, waits)


def _session(visit: Visit, began: float) -> Session:
    """The visit in seconds since the wave began; a refused one is as short as any."""
    ended = visit.left or visit.lost or visit.came + SHORTEST
    return Session(visit.came - began, ended - began)


def simulated(wave: Recording, seed: int) -> Course:
    """The same wave, simulated. seed: of the Service's choices and of the lead times."""
    usual, slow = wave.lead_time
    policy = Policy.model_validate(our_policy(wave.seconds))
    assumed = Assumptions(
        seats=SEATS,
        tick=policy.interval,
        lead_time=usual,
        slow_lead_time=slow if slow > usual else None,
        placement=Placement.SERVICE,
        when_full=WhenFull.OVERFILL,
        scrape_interval=SCRAPE_INTERVAL,
        seed=seed,
    )
    run = simulate(policy, Trace("wave", tuple(sorted(wave.sessions)), 0.0, wave.seconds), assumed)
    line = run.timeline
    return Course(line.desired, len(line.refused), run.cut, drain_times(line.lives))


def main(arguments: Sequence[str] | None = None) -> int:
    """Record one wave inside a node."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.fidelity.wave")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--to", type=Path, required=True, metavar="FILE")
    given = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = Access(Path(os.environ["KUBECONFIG"]), folder)
        stack.callback(cluster.close)
        shipped = Shipped(cluster, stack.enter_context(Users(PATIENCE)), ours=True)
        recording = record(shipped, given.seconds, given.seed)
        given.to.write_text(json.dumps(asdict(recording)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
