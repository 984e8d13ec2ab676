"""Waves of real users on a real node: who lost a session, by the users' own logs.

`python -m tests.lab.real_node --stack -- python -m tests.node.waves [--seconds N]` sends three
waves, from 5 users to 60 and back, to the example app, twice side by side: under our daemon, as we
ship it, and under the real HPA, as Deployments are without us: `bokeh serve` as the first process,
Kubernetes' own grace period. In the first wave one pod of each is blocked for 20 s, in the second
each is restarted by `kubectl rollout restart`, in the third one pod of each is killed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from random import Random
from typing import Any

from kubernetes import client
from tornado.websocket import WebSocketClosedError

from autoscaler.simulation.bounds import lower_bounds
from autoscaler.simulation.trace import Session, Trace
from tests.hpa.registration import registered
from tests.hpa.served_apis import ServedApis
from tests.lab.access import Access
from tests.lab.live_cluster import NAMESPACE
from tests.lab.processes import wait_until
from tests.lab.websocket_user import User, Users
from tests.node.apps import shipped_app
from tests.node.shipped import ANSWERED_WITHIN, PATIENCE, Json, Shipped, policy

OURS, THEIRS = "waves", "waves-hpa"
WAVES, LOW, HIGH = 3, 5, 60  # users
SEATS, SPARE, MOST = 10, 10, 12
BLOCKED = 20.0  # seconds
SHORTEST = 2.0  # of a visit, in seconds
NOTICED_WITHIN = 5.0
TICK = 0.25
METRICS = {"external.metrics.k8s.io": "v1beta1"}
# Its title names the pod; a page that asks for it blocks the server's loop.
CODE = """
import socket
import time
from bokeh.io import curdoc
from bokeh.models import Div

arguments = curdoc().session_context.request.arguments
time.sleep(float(arguments.get("block", [b"0"])[0]))
curdoc().title = socket.gethostname()
curdoc().add_root(Div(text="here"))
"""


@dataclass
class Visit:
    """What one user saw. Times are Unix seconds; lost: when the session ended under the user.

    left: when the user went. refused: the page did not open in time, or not at all. why: what the
    user was told of either.
    """

    came: float
    pod: str = ""
    lost: float | None = None
    refused: bool = False
    left: float | None = None
    why: str = ""

    def told(self, began: float) -> str:
        """One line, in seconds since the waves began."""
        until = f" lost {self.lost - began:.1f}" if self.lost is not None else " refused"
        return f"came {self.came - began:.1f}{until} {self.pod} {self.why}"


@dataclass
class Crowd:
    """The users of one app, each in a thread of its own, and what all of them saw."""

    shipped: Shipped
    app: str
    random: Random
    stay: float
    visits: list[Visit] = field(default_factory=list)
    _present: list[Future[None]] = field(default_factory=list)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4 * HIGH))

    @property
    def present(self) -> int:
        self._present = [each for each in self._present if not each.done()]
        return len(self._present)

    def fill_up(self, level: float, until: float = inf) -> None:
        """Users come until there are so many; nobody is sent away before this Unix time."""
        for _ in range(self.present, round(level)):
            stay = max(SHORTEST, self.random.expovariate(1 / self.stay))
            self.come(min(stay, until - time.time()))

    def come(self, stay: float) -> None:
        visit = Visit(time.time())
        self.visits.append(visit)
        self._present.append(self._pool.submit(self._visit, visit, stay))

    def block(self, seconds: float) -> None:
        """Somebody asks for a page that takes so long to make, and does not wait for it."""
        url = self.shipped.url(self.app)
        self._pool.submit(self.shipped.users.get, url, block=f"{seconds:g}")

    def _visit(self, visit: Visit, stay: float) -> None:
        users = self.shipped.users
        try:
            (user,) = self.shipped.join(1, self.app)
        except Exception as error:  # whatever kept the page from opening
            visit.refused, visit.why = True, repr(error)
            return
        try:
            visit.pod = users.document(user, ANSWERED_WITHIN)["title"]
            if not users.stays(user, stay):
                raise ConnectionError(f"closed: {user.socket.close_code}")
            users.ask(user, ANSWERED_WITHIN)
            visit.left = time.time()
        except (ConnectionError, TimeoutError, WebSocketClosedError) as error:
            visit.lost, visit.why = time.time(), repr(error)
        _part(users, user)

    def go_home(self) -> None:
        """Wait for those who are still there."""
        self._pool.shutdown(wait=True)


def _part(users: Users, user: User) -> None:
    with suppress(TimeoutError, OSError):
        users.leave(user)


@dataclass(frozen=True)
class Toll:
    """Sessions of one app: all, those that ended with the killed pod, those lost for no reason.

    lost, refused: a line each. pods: on average. bound: the sticky bound of its users, who each
    stay in one pod; no pod has to start, and there are no spare seats.
    """

    sessions: int
    killed: int
    lost: tuple[str, ...]
    refused: tuple[str, ...]
    pods: float
    bound: float


class Waves:
    """Both apps, side by side."""

    def __init__(self, shipped: Shipped, seconds: float, seed: int) -> None:
        self._shipped = shipped
        self._period = seconds / WAVES
        stay = self._period / 4
        self.crowds = [Crowd(shipped, app, Random(seed), stay) for app in (OURS, THEIRS)]
        self.began = time.time()
        self.killed: dict[str, tuple[str, float, float]] = {}
        self._pods: Counter[str] = Counter()
        self._ticks = 0

    def run(self, say: Callable[[str], None] = lambda _: None) -> None:
        """All waves, and until the last user is gone."""
        self.began = time.time()
        todo = self._disturbances()
        while (now := time.time() - self.began) < WAVES * self._period:
            for crowd in self.crowds:
                crowd.fill_up(level(now, self._period))
            while todo and todo[0][0] <= now:
                _, what, act = todo.pop(0)
                say(f"{now:5.0f} s  {what}")
                for crowd in self.crowds:
                    act(crowd)
            self._count_pods()
            time.sleep(TICK)
        for crowd in self.crowds:
            crowd.go_home()

    def _disturbances(self) -> list[tuple[float, str, Callable[[Crowd], None]]]:
        peak = 0.4 * self._period
        return [
            (peak, "a pod of each is blocked", self._block),
            (self._period + peak, "each is restarted", self._restart),
            (2 * self._period + peak, "a pod of each is killed", self._kill),
        ]

    def _block(self, crowd: Crowd) -> None:
        crowd.block(BLOCKED)

    def _restart(self, crowd: Crowd) -> None:
        self._shipped.kubectl("rollout", "restart", f"deployment/{crowd.app}")

    def _kill(self, crowd: Crowd) -> None:
        """The pod with the most users of those that are to stay."""
        here = Counter(v.pod for v in crowd.visits if v.pod and v.left is None and v.lost is None)
        pod = max(self._shipped.ready_pods(crowd.app), key=lambda pod: here[pod.metadata.name])
        asked = time.time()
        self._shipped.kill_container(pod, pod.status.container_statuses[0])
        self.killed[crowd.app] = (pod.metadata.name, asked, time.time())

    def _count_pods(self) -> None:
        self._ticks += 1
        if self._ticks % 8 == 0:  # every two seconds
            for crowd in self.crowds:
                self._pods[crowd.app] += len(self._shipped.pods(crowd.app))

    def _was_killed(self, app: str, visit: Visit) -> bool:
        """Whether it was at the killed pod then, or had yet to learn at which pod it was."""
        pod, asked, done = self.killed.get(app, ("", inf, inf))
        lost = visit.lost or 0.0
        there = visit.pod == pod or (not visit.pod and lost < done + NOTICED_WITHIN)
        return there and visit.came < done and lost > asked

    def toll(self, crowd: Crowd) -> Toll:
        lost = [visit for visit in crowd.visits if visit.lost is not None]
        killed = [visit for visit in lost if self._was_killed(crowd.app, visit)]
        return Toll(
            sessions=sum(not visit.refused for visit in crowd.visits),
            killed=len(killed),
            lost=tuple(v.told(self.began) for v in lost if v not in killed),
            refused=tuple(v.told(self.began) for v in crowd.visits if v.refused),
            pods=self._pods[crowd.app] / max(1, self._ticks // 8),
            bound=self._bound(crowd),
        )

    def _bound(self, crowd: Crowd) -> float:
        end = self.began + WAVES * self._period
        there = [each for each in crowd.visits if not each.refused]
        stays = [Session(each.came, min(each.left or each.lost or end, end)) for each in there]
        trace = Trace(crowd.app, tuple(stays), self.began, end)
        return lower_bounds(trace, SEATS, 1).sticky * 3_600.0 / (end - self.began)


def level(now: float, period: float) -> float:
    """Users at a time: a quarter of each wave up, a quarter at the top, then down at once.

    Nobody is sent away: those who are there leave one by one. period: seconds of a wave.
    """
    phase = now % period / period
    return LOW + (HIGH - LOW) * min(1.0, 4 * phase) if phase < 0.5 else LOW


def our_policy(period: float) -> Json:
    return policy(
        OURS,
        replicas={"min": 1, "max": MOST},
        metrics=[{"type": "sessions", "seats": SEATS, "spare": SPARE}],
        behavior={
            "scaleUp": {"policies": [{"type": "Pods", "value": 10, "periodSeconds": 1}]},
            "scaleDown": {"stabilizationWindowSeconds": _window(period)},
        },
    )


def _window(period: float) -> int:
    """For both alike; five minutes, their default, would be longer than a wave."""
    return round(period / 10)


def _stock(objects: list[Json]) -> list[Json]:
    """As an app is deployed without us: no launcher, no sidecar, no wait, 30 s of grace."""
    for each in objects:
        if each["kind"] == "Deployment":
            spec = each["spec"]["template"]["spec"]
            app = spec["containers"][0]
            app["command"], app["args"] = app["args"][:1], app["args"][1:]
            app["readinessProbe"] = {"tcpSocket": {"port": "http"}, "periodSeconds": 2}
            del spec["initContainers"], spec["terminationGracePeriodSeconds"], app["lifecycle"]
    return objects


@contextmanager
def real_hpa(cluster: Access, figure: Callable[[], int]) -> Iterator[None]:
    """An HPA for its app, by average sessions, which it is told without delay."""
    certificates = cluster.admin.parent / "certificates"
    with ServedApis(certificates / "apiserver.crt", certificates / "apiserver.key") as apis:
        apis.external[THEIRS] = lambda: [1000 * figure()]
        with registered(cluster, NAMESPACE, METRICS, apis.port):
            yield


def _hpa(period: float) -> Json:
    average = {"type": "AverageValue", "averageValue": str(SEATS)}
    external = {"metric": {"name": THEIRS}, "target": average}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": THEIRS, "namespace": NAMESPACE},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": THEIRS},
            "minReplicas": 1,
            "maxReplicas": MOST,
            "metrics": [{"type": "External", "external": external}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": _window(period)}},
        },
    }


def run(
    shipped: Shipped, seconds: float, seed: int, say: Callable[[str], None] = lambda _: None
) -> tuple[Toll, Toll]:
    """Ours and the HPA's."""
    waves = Waves(shipped, seconds, seed)
    ours, theirs = waves.crowds
    objects = [*shipped_app(OURS, CODE), *_stock(shipped_app(THEIRS, CODE)), _hpa(seconds / WAVES)]
    with real_hpa(shipped.cluster, lambda: theirs.present):
        shipped.apply(objects)
        for crowd in waves.crowds:
            shipped.await_service(crowd.app)
        shipped.write_policy(OURS, our_policy(seconds / WAVES))
        wait_until(lambda: _hpa_works(shipped.cluster), 120, "the HPA to read its metric")
        waves.run(say)
        shipped.remove(objects)
    shipped.write_policy(OURS, None)
    return waves.toll(ours), waves.toll(theirs)


def _hpa_works(cluster: Access) -> bool:
    hpas: Any = client.AutoscalingV2Api(cluster.api)
    status = hpas.read_namespaced_horizontal_pod_autoscaler(THEIRS, NAMESPACE).status
    return any(
        each.type == "ScalingActive" and each.status == "True" for each in status.conditions or ()
    )


def summary(seconds: float, ours: Toll, theirs: Toll) -> str:
    return (
        f"three waves in {seconds:g} s: ours lost {_told(ours)}; the real HPA lost {_told(theirs)}"
    )


def _told(toll: Toll) -> str:
    refused = f", {len(toll.refused)} pages did not open" if toll.refused else ""
    return (
        f"{len(toll.lost)} of {toll.sessions} sessions (and {toll.killed} with the killed pod"
        f"{refused}; {toll.pods:.1f} pods on average, the sticky bound is {toll.bound:.1f})"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.node.waves")
    parser.add_argument("--seconds", type=float, default=600.0, help="of all three (default 600)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    kubeconfig = Path(os.environ["KUBECONFIG"])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = Access(kubeconfig, folder)
        stack.callback(cluster.close)
        shipped = Shipped(cluster, stack.enter_context(Users(PATIENCE)), ours=True)
        ours, theirs = run(shipped, given.seconds, given.seed, lambda text: print(text, flush=True))
        print(*ours.lost, *ours.refused, "HPA:", *theirs.lost, *theirs.refused, sep="\n")
        print(summary(given.seconds, ours, theirs))
    return 1 if ours.lost else 0


if __name__ == "__main__":
    sys.exit(main())
