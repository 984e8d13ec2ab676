"""Many apps side by side on a control plane: Deployments of pods that run nothing, and their users.

Whoever scales them, the users are the same; what differs is the pods that are taken from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.cluster.access import Access
from tests.cluster.objects import deployment
from tests.cluster.processes import wait_until
from tests.drain.pods_seen import Change, PodsSeen
from tests.drain.visits import ENDS, FROM, TO, Users, script

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
    """What the way from 12 to 3 pods cost: sessions cut, and pods used on average."""

    sessions: int
    cut: int
    pods: float


class Fleet:
    """The apps of one namespace; time is that of the script, in seconds."""

    def __init__(
        self, access: Access, seen: PodsSeen, namespace: str, seeds: Iterable[int]
    ) -> None:
        self._namespace = namespace
        self.apps = {f"run-{seed}": App(f"run-{seed}", _users(seed)) for seed in seeds}
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
        create: Any = self._access.apps.create_namespaced_deployment
        create(self._namespace, deployment(name, FROM), _preload_content=False)

    def _is_complete(self) -> bool:
        self.follow()
        return all(len(app.open_pods) == FROM for app in self.apps.values())

    def follow(self) -> list[Change]:
        """Take note of what became of the pods; whoever is on one that ended is cut."""
        changes = list(self._seen.changes())
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
        return Toll(sessions, cut, self._pod_seconds / ENDS / len(every))


def _users(seed: int) -> Users:
    return Users(script(seed), Random(seed))
