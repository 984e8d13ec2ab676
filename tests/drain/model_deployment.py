"""A Deployment in memory: its pods, the controllers that make and remove them, and other hands.

The ReplicaSet's controller sees pods as they were up to ten seconds ago, for its informer lags. It
keeps count of the sessions that end because of us, and of everything else that must not happen.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

from autoscaler.adapters.kubernetes.pods import DELETION_COST, ROUTABLE
from autoscaler.core.drain.deletion_order import deletion_order
from autoscaler.core.drain.pods import has_foreign_cost
from tests.drain.model_pod import LONGEST_LAG, SOMEBODY, Pod, new_pod
from tests.drain.model_time import ModelTime
from tests.drain.model_users import RECONNECT, Session

INTERVAL = 5.0  # seconds between two passes, and between two rounds of the controllers
LAUNCHER_DEADLINE = 3_600.0  # seconds
# The Deployment's status tells of its pods after another controller has seen them, in seconds.
STATUS_LATER = 2.0
# What the daemon knows when it sends a scale may be so old, in seconds.
LOOK_AGE = 2.0
Late = Literal["nobody", "replicasets", "everybody"]


class Shrink(NamedTuple):
    """A scale of ours that took effect. sent: when the daemon sent it."""

    sent: float


class ModelDeployment(ModelTime):
    """The pods of one Deployment and the controllers that make and remove them.

    problems: what must not happen. has_room: new pods find a node. lag: how old what the controller
    of ReplicaSets knows of pods is, in seconds. launcher: each pod has one, which serves on when
    the pod is deleted; those are in `ending`. dead: evicted pods, whose objects stay.
    """

    def __init__(self, replicas: int, *, launcher: bool = False) -> None:
        super().__init__()
        self.pods: list[Pod] = []
        self.ending: list[Pod] = []
        self.dead: list[Pod] = []
        self.replicas = replicas
        self.replicas_writer = ""  # who else wrote them last
        self.launcher = launcher
        self.problems: list[str] = []
        self.has_room = True
        self.lag = 0.0
        self.version = 1
        self.unseen = False  # the Deployment's controller has not seen the latest spec
        self._template = 1
        self._made = 0
        self._late: Late = "nobody"
        self._late_until = 0.0
        self._scale_down: Shrink | None = None  # the last of ours that is not carried out yet
        self._by_hand = 0  # how many pods others ask to be removed
        self._disturbed: list[float] = []  # when others changed the order of removal
        self._untold: list[float] = []  # when they took back what no look had found
        self.run_controllers()
        self.run_controllers()

    @property
    def rolls(self) -> bool:
        """Whether pods of two templates are there, or are about to be."""
        return {pod.template for pod in self.pods} | {str(self._template)} != {str(self._template)}

    @property
    def surplus(self) -> int:
        return len(self.pods) - self.replicas

    def first_to_go(self, count: int, lag: float) -> list[Pod]:
        """By what is known of the pods where informers lag by so many seconds."""
        known = {(seen := pod.seen_at(self.time - lag)).uid: (pod, seen) for pod in self.pods}
        order = deletion_order([seen for _, seen in known.values()], self.wall)
        return [known[seen.uid][0] for seen in order[: max(0, count)]]

    def going(self, lag: float | None = None) -> list[Pod]:
        """Those that a ReplicaSet that is late is yet to remove; as it knows them by default."""
        of_several = len({pod.template for pod in self.pods}) > 1
        return (
            [] if of_several else self.first_to_go(self.surplus, self.lag if lag is None else lag)
        )

    def edit(self, replicas: int) -> None:
        self.unseen = self.unseen or replicas != self.replicas
        self.replicas = replicas
        self.version += 1
        if self.late == "nobody":
            self._follow_scale()

    # Controllers.

    def delay(self, who: Late, passes: int) -> None:
        """These controllers do nothing for so many intervals."""
        self._late, self._late_until = who, self.time + passes * INTERVAL

    @property
    def late(self) -> Late:
        return self._late if self.time < self._late_until else "nobody"

    def run_controllers(self) -> None:
        """What those that are not late do: one step of a rollout, pods made and removed."""
        if self.late == "everybody":
            return
        self.unseen = False
        if self.late == "replicasets":
            return
        for pod in self.pods:
            if pod.seen.phase == "Pending" and self.has_room:
                self._report(pod, True)
        self._follow_scale()
        self._roll()

    def _report(self, pod: Pod, ready: bool) -> None:
        """The kubelet says how its pod is; the Deployment's status follows when that is noticed."""
        if pod.run(ready, self.time, self.wall):
            self.later(self.lag + STATUS_LATER, self._change_status)

    def _change_status(self) -> None:
        self.version += 1

    def _follow_scale(self) -> None:
        if self.rolls:
            return  # the rollout ends with the right number
        surplus = self.surplus
        for pod in self.going():
            self._judge(pod)
            self._remove(pod)
        self.pods += [self._new_pod() for _ in range(-surplus)]
        if self.surplus <= 0:
            self._scale_down, self._by_hand = None, 0
        self.version += surplus != 0

    def _judge(self, pod: Pod) -> None:
        """Whether anybody on the pod is somebody that a shrink of ours must not end."""
        there = [each for each in pod.sessions if not self._came_too_late(each)]
        if not there or self._is_excused():
            return
        told = ", ".join(map(str, there))
        self.problems.append(f"at {self.time:g} s {pod.seen.name} went with its users: {told}")

    def _came_too_late(self, session: Session) -> bool:
        """After the last look before the scale; the launcher in the pod serves them to their end.

        Without a launcher `settle` has to be as long as new users may still be sent there, and so
        nobody comes then.
        """
        sent = self._scale_down.sent if self._scale_down else self.time
        return self.launcher and session.astray and session.came >= sent - LOOK_AGE

    def _is_excused(self) -> bool:
        """Whether others removed the pod, or changed the order after our last look.

        Nobody can help it if somebody makes a pod go first while the scale is on its way, or while
        the ReplicaSet's controller is late. Nor if a deletion cost was written and removed between
        two looks: nothing on the pod tells of it, and a late controller still goes by it. Then the
        launcher is the net. Each hand excuses one pod.
        """
        if self._by_hand:
            self._by_hand -= 1
            return True
        sent = self._scale_down.sent if self._scale_down else self.time
        for found, since in ((self._disturbed, LOOK_AGE), (self._untold, LONGEST_LAG + LOOK_AGE)):
            if recent := [at for at in found if at >= sent - since]:
                found.remove(recent[0])
                return True
        return False

    def _remove(self, pod: Pod) -> None:
        self.pods.remove(pod)
        if self.launcher:
            pod.delete(self.time, self.wall, self.time + LAUNCHER_DEADLINE)
            self.ending.append(pod)

    def _end(self) -> None:
        """Launchers end by their own look, like the sidecars', or at their deadline."""
        for pod in list(self.ending):
            empty_for = pod.users.empty_for(self.time)
            if empty_for is not None and empty_for >= RECONNECT:
                self.ending.remove(pod)
                if pod.sessions:
                    self.problems.append(f"the launcher of {pod.seen.name} ended {pod.sessions}")
            elif self.time >= pod.ends_at:
                self.ending.remove(pod)

    def _roll(self) -> None:
        """One pod more of the newest template, then one less of an older: their users are told."""
        old = [pod for pod in self.pods if pod.template != str(self._template)]
        if not old:
            return
        if self.surplus <= 0:
            self.pods.append(self._new_pod())
        elif all(pod.seen.serving for pod in self.pods if pod not in old):
            going = deletion_order([pod.seen for pod in old], self.wall)[0]
            self._remove(next(pod for pod in old if pod.uid == going.uid))
        self.version += 1

    def _new_pod(self) -> Pod:
        self._made += 1
        return new_pod(self._made, self._template, self.time, self.wall)

    # Other people's hands.

    def set_ready(self, pod: Pod, ready: bool) -> None:
        """Its readiness probe begins to fail, or no longer does."""
        if pod in self.pods and pod.seen.phase == "Running":
            self._disturbed.append(self.time)
            self._report(pod, ready)

    def set_cost(self, pod: Pod, cost: int | None) -> None:
        """Somebody else writes the deletion cost, or removes it."""
        self._disturbed.append(self.time)
        if cost is None and pod.cost_unread:
            self._untold.append(self.time)
        pod.cost_unread = cost is not None
        value = None if cost is None else str(cost)
        pod.patch({}, {DELETION_COST: value}, self.time, self.wall, SOMEBODY)

    def remove_foreign_cost(self, pod: Pod) -> None:
        if has_foreign_cost(pod.seen):
            self.set_cost(pod, None)

    def set_label(self, pod: Pod, value: str) -> None:
        """Somebody lets users go to the pod, or keeps them away."""
        self._disturbed.append(self.time)
        pod.patch({ROUTABLE: value}, {}, self.time, self.wall, SOMEBODY)

    def edit_by_hand(self, replicas: int) -> None:
        self._by_hand += max(0, self.replicas - replicas)
        self.replicas_writer = SOMEBODY
        self.edit(replicas)

    def roll_out(self) -> None:
        self._template += 1
        self.version += 1
        self.unseen = True

    def lose(self, pod: Pod) -> None:
        """Its node dies, or somebody deletes it."""
        self.pods.remove(pod)
        self.later(self.lag + STATUS_LATER, self._change_status)

    def evict(self, pod: Pod) -> None:
        """Its node needs the memory: the users are lost, and a Failed pod stays behind."""
        self.pods.remove(pod)
        self.dead.append(pod)
        pod.fail(self.time, self.wall)
        self.later(self.lag + STATUS_LATER, self._change_status)

    def reset(self, replicas: int, seconds: float, every: float) -> None:
        """Somebody applies a manifest again and again, with its replicas and labels."""
        for at in range(0, round(seconds), round(every)):
            self.later(at, partial(self.edit_by_hand, replicas))
            self.later(at, self._reset_labels)

    def _reset_labels(self) -> None:
        for pod in self.pods:
            if not pod.seen.routable:
                self.set_label(pod, "true")
