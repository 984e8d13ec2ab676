"""The apps under our controller, with its real Kubernetes and sidecar adapters.

Time is that of the script: a pass every 20 s, and as fast as passes can be made. Each pass is given
sessions scraped 10 s before it; the sidecars of cordoned pods are asked over HTTP and say how it is
at that moment.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial

from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
from autoscaler.adapters.kubernetes.pods import PROTECTED
from autoscaler.adapters.sidecars import HttpSidecars
from autoscaler.control.controller import Controller
from autoscaler.control.pass_result import PassResult
from autoscaler.model import Sample
from autoscaler.policy import Policy
from autoscaler.ports import Readings, Signal
from tests.drain.fleet import NAMESPACE, App, Fleet, Toll
from tests.drain.pods_seen import Change, PodsSeen
from tests.drain.visits import FROM, SEATS, TO
from tests.fakes import FakeClock, FakePolicies
from tests.lab.control_plane import ControlPlane
from tests.lab.scripted_sidecars import ScriptedSidecars, State, state

INTERVAL, SCRAPED_BEFORE = 20.0, 10.0
WINDOW = 30  # seconds
LIMIT = 2_400.0


class ScrapedSessions:
    """Implements `ports.MetricsSource`: what was scraped last."""

    def __init__(self) -> None:
        self.samples: dict[tuple[str, str], Sample] = {}

    def read(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
    ) -> Readings:
        return Readings({("sessions", "exporter"): dict(self.samples)})


class Journey:
    """The ways of one fleet, pass by pass. problems: what should not have happened."""

    def __init__(self, plane: ControlPlane, fleet: Fleet, sidecars: ScriptedSidecars) -> None:
        self.problems: list[str] = []
        self._fleet = fleet
        self._sidecars = sidecars
        self._chosen: set[str] = set()
        self._began = time.time()
        self._clock = FakeClock(self._began)
        self._metrics = ScrapedSessions()
        self._controller = Controller(
            FakePolicies(tuple(map(_policy, fleet.apps))),
            self._metrics,
            KubernetesCluster.connect(plane.admin),
            HttpSidecars(sidecars.port),
            self._clock,
            [self],
        )

    def travel(self) -> None:
        """Until every app has 3 pods that carry nothing of ours."""
        while not self._is_over():
            self._advance(INTERVAL - SCRAPED_BEFORE)
            self._scrape()
            self._advance(SCRAPED_BEFORE)
            self._controller.run_pass()
            self._follow()
            assert self._now < LIMIT, f"not at {TO} pods: {self._late()}"

    @property
    def _now(self) -> float:
        return self._clock.at - self._began

    def _advance(self, seconds: float) -> None:
        self._clock.advance(seconds)
        self._fleet.advance(self._now)

    def _scrape(self) -> None:
        self._metrics.samples = {}
        for app in self._fleet.apps.values():
            live = app.users.live(self._now)
            for uid, seen in app.pods.items():
                key = (NAMESPACE, seen.pod.name)
                self._metrics.samples[key] = Sample(live[uid], self._clock.at)

    def _follow(self) -> None:
        for change in self._fleet.follow():
            if change.pod.cordon is not None and change.pod.ip:
                app = self._fleet.apps[change.app]
                self._sidecars.ask(change.pod.ip, partial(self._state, app, change.pod.uid))

    def _state(self, app: App, uid: str) -> State:
        return state(*app.users.state(uid, self._now))

    def record(self, result: PassResult) -> None:
        """Look at whom each shrink is to remove, at the moment at which it is decided."""
        for outcome in result.outcomes:
            if outcome.problem and "has changed since it was read" not in outcome.problem:
                self.problems.append(f"{self._now:g} s {outcome.policy.name}: {outcome.problem}")
            if outcome.changed and outcome.decision and outcome.decision.drain:
                for pod in outcome.decision.drain.remove:
                    self._chosen.add(pod.uid)
                    if users := self._fleet.apps[outcome.policy.name].users.at(pod.uid):
                        self.problems.append(f"{self._now:g} s {pod.name}: chosen with {users}")

    def unchosen(self) -> list[str]:
        """Pods that ended although nobody chose them."""
        ended = {uid for app in self._fleet.apps.values() for uid in app.ended}
        return sorted(ended - self._chosen)

    def _is_over(self) -> bool:
        return self._fleet.arrived() and not self._late()

    def _late(self) -> list[str]:
        return [app.name for app in self._fleet.apps.values() if not _is_tidy(app)]


def _is_tidy(app: App) -> bool:
    return len(app.pods) == TO and all(_carries_nothing(app, each) for each in app.pods.values())


def _carries_nothing(app: App, seen: Change) -> bool:
    """But protection from node autoscalers while it has users."""
    allowed = PROTECTED.keys() if app.users.at(seen.pod.uid) else set()
    return seen.pod.routable and seen.annotations.keys() <= allowed


def _policy(name: str) -> Policy:
    return Policy.model_validate(
        {
            "name": name,
            "target": {"namespace": NAMESPACE, "deployment": name},
            "replicas": {"min": TO, "max": FROM},
            "interval": f"{INTERVAL:g}s",
            "metrics": [{"type": "sessions", "seats": SEATS}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": WINDOW}},
        }
    )


def travel(plane: ControlPlane, seeds: Iterable[int]) -> tuple[Toll, list[str]]:
    """What it cost, and what should not have happened."""
    plane.node.network = "127.1"
    sidecars = ScriptedSidecars()
    with ExitStack() as stack:
        stack.callback(sidecars.stop)
        seen = stack.enter_context(PodsSeen(plane.admin, NAMESPACE))
        fleet = Fleet(plane, seen, "ours", seeds)
        fleet.deploy()
        journey = Journey(plane, fleet, sidecars)
        journey.travel()
        fleet.remove()
        return fleet.toll(), journey.problems + journey.unchosen()
