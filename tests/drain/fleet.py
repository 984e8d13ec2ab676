"""Many apps side by side on a control plane: Deployments of pods that run nothing, and their users.

Whoever scales them, the users are the same; what differs is the pods that are taken from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random

from tests.drain.pods_seen import Change, PodsSeen
from tests.drain.visits import ENDS, FROM, TO, Users, script
from tests.lab.access import raw
from tests.lab.control_plane import ControlPlane
from tests.lab.objects import deployment
from tests.lab.processes import wait_until

NAMESPACE = "default"
WRITERS = 8
DEPLOYED_WITHIN = 120.0


@dataclass
class App:
    """One Deployment. pods: those that are there, by uid. ended: uid to the sessions cut."""

    name: str
    users: Users
    pods: dict[str, Change] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)

    @property
    def open_pods(self) -> list[str]:
        """Where a Service sends new users."""
        return sorted(
            uid for uid, each in self.pods.items() if each.pod.serving and each.pod.routable
        )


@dataclass(frozen=True)
class Toll:
    """What the ways from 12 to 3 pods cost: sessions cut, and pods used on average, in all runs."""

    runs: int
    sessions: int
    cut: int
    pods: float

    def __add__(self, other: Toll) -> Toll:
        pods = (one.pods * one.runs for one in (self, other))
        runs = self.runs + other.runs
        return Toll(runs, self.sessions + other.sessions, self.cut + other.cut, sum(pods) / runs)


class Fleet:
    """The apps of one namespace; time is that of the script, in seconds. whose: in their names."""

    def __init__(
        self, access: ControlPlane, seen: PodsSeen, whose: str, seeds: Iterable[int]
    ) -> None:
        names = {f"{whose}-{seed}": seed for seed in seeds}
        self.apps = {name: App(name, _users(seed)) for name, seed in names.items()}
        self._access = access
        self._seen = seen
        self._now = 0.0
        self._pod_seconds = 0.0

    def deploy(self) -> None:
        """12 Ready pods for every app."""
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(self._create, self.apps))
        wait_until(self._is_complete, DEPLOYED_WITHIN, "12 Ready pods of every Deployment")

    def _create(self, name: str) -> None:
        body = deployment(name, FROM)
        # There is one node: nobody has to look for it.
        body["spec"]["template"]["spec"]["nodeName"] = self._access.node.name
        body["spec"]["template"]["spec"]["automountServiceAccountToken"] = False
        raw(self._access.apps.create_namespaced_deployment, NAMESPACE, body)

    def _is_complete(self) -> bool:
        self.follow()
        return all(len(app.open_pods) == FROM for app in self.apps.values())

    def follow(self) -> list[Change]:
        """Take note of what became of the pods; whoever is on one that ended is cut."""
        changes = [change for change in self._seen.changes() if change.app in self.apps]
        for change in changes:
            app, uid = self.apps[change.app], change.pod.uid
            if not change.ended:
                app.pods[uid] = change
            elif app.pods.pop(uid, None):
                app.ended[uid] = app.users.pod_ended(uid, self._now)
        for name in {change.app for change in changes}:
            self.apps[name].users.open_pods(self.apps[name].open_pods, self._now)
        return changes

    def advance(self, now: float) -> None:
        """Users come and go until then."""
        pods = sum(len(app.pods) for app in self.apps.values())
        self._pod_seconds += pods * max(0.0, min(now, ENDS) - self._now)
        self._now = now
        for app in self.apps.values():
            app.users.advance(now)

    def arrived(self) -> bool:
        """Whether the script is over and every app has as few pods as it may."""
        return self._now >= ENDS and all(len(app.pods) == TO for app in self.apps.values())

    def toll(self) -> Toll:
        every = [app.users for app in self.apps.values()]
        cut, sessions = sum(users.cut for users in every), sum(users.total for users in every)
        return Toll(len(every), sessions, cut, self._pod_seconds / ENDS / len(every))

    def remove(self) -> None:
        """Ask for the end of the Deployments; does not wait for it."""
        for name in self.apps:
            self._access.apps.delete_namespaced_deployment(name, NAMESPACE)


def _users(seed: int) -> Users:
    return Users(script(seed), Random(seed))
