"""A pod in memory with its users, as the API's JSON, so that what it carries is plain to see.

Times of the model are seconds since its beginning; stamps in the JSON are by the server's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from autoscaler.adapters.kubernetes.pods import (
    CORDONED_AT,
    CORDONED_FOR,
    DELETION_COST,
    FIELD_MANAGER,
    OUR_COST,
    PROTECTED,
    ROUTABLE,
    pod_state,
    rfc3339,
)
from autoscaler.model import PodState, Sample
from tests.drain.model_users import Session, Users

LONGEST_LAG = 10.0  # seconds for which an informer may show a pod as it was
NODES = 3
SOMEBODY = "kubectl-edit"  # in managedFields
Sidecar = Literal["answers", "silent", "late", "not ready"]


@dataclass(eq=False)
class Pod:
    """open_until: when new users could last be sent to it, if they no longer can.

    scraped: Prometheus reaches its sidecar. sidecar: how it takes the daemon's question. ends_at:
    when its launcher ends at the latest, once it is deleted. cost_unread: somebody else wrote a
    deletion cost, and the daemon has not looked since.
    """

    item: dict[str, Any]
    users: Users
    open_until: float = -inf
    sample: Sample | None = None
    scraped: bool = True
    sidecar: Sidecar = "answers"
    ends_at: float = inf
    cost_unread: bool = False
    _seen: PodState | None = None
    _was: list[tuple[float, PodState]] = field(default_factory=list)  # until when, and as what

    @property
    def seen(self) -> PodState:
        """As the API tells it."""
        self._seen = self._seen or pod_state(self.item)
        return self._seen

    def seen_at(self, at: float) -> PodState:
        """As the API told it then; before that, as it was made."""
        return next((was for until, was in self._was if at < until), self.seen)

    @property
    def uid(self) -> str:
        return self.seen.uid

    @property
    def template(self) -> str:
        return self.seen.replica_set

    @property
    def is_open(self) -> bool:
        return self.seen.serving and self.seen.routable

    @property
    def sessions(self) -> list[Session]:
        return self.users.sessions

    def count(self, *states: str) -> int:
        return sum(session.state in states for session in self.sessions)

    def arrived(self, now: float) -> int:
        """Sessions that came in the last minute, in thousandths a second."""
        return round(1000 * sum(each.came > now - 60 for each in self.sessions) / 60)

    def state(self, now: float) -> dict[str, Any]:
        """The answer of its sidecar; one that sees no server sees nobody either."""
        if self.sidecar == "not ready":
            return Users(0.0).state(now) | {"ready": False}
        return self.users.state(now) | {"draining": self.seen.deleting}

    def leftovers(self) -> list[str]:
        """What it carries of ours; protection is right while it has users."""
        ours = {CORDONED_AT, CORDONED_FOR, OUR_COST, DELETION_COST}
        ours |= PROTECTED.keys() if not self.sessions else set()
        labels = [] if self.seen.routable else [ROUTABLE]
        return labels + sorted(ours & self.item["metadata"]["annotations"].keys())

    def patch(
        self,
        labels: Mapping[str, str],
        annotations: Mapping[str, str | None],
        now: float,
        wall: float,
        manager: str = FIELD_MANAGER,
    ) -> None:
        """A merge patch of its metadata: None removes."""
        self._about_to_change(now)
        meta = self.item["metadata"]
        for kind, changes in (("labels", labels), ("annotations", annotations)):
            was = meta[kind]
            new = {key: value for key, value in changes.items() if was.get(key) != value}
            merged = {**was, **new}
            meta[kind] = {key: value for key, value in merged.items() if value is not None}
            if new:
                _own(meta["managedFields"], manager, rfc3339(wall), f"f:{kind}", new)

    def has_changed(self, patch: Mapping[str, Any]) -> bool:
        """Whether the API server refuses the patch, for it was made for an earlier version."""
        meta = self.item["metadata"]
        return bool(
            patch.get("resourceVersion", meta["resourceVersion"]) != meta["resourceVersion"]
        )

    def run(self, ready: bool, now: float, wall: float) -> bool:
        """Its kubelet reports that it runs; whether that is news."""
        if self.seen.phase == "Running" and self.seen.ready is ready:
            return False
        self._about_to_change(now)
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": rfc3339(wall)}
        self.item["status"].update(phase="Running", conditions=[condition])
        return True

    def fail(self, now: float, wall: float) -> None:
        """Its node evicts it: the object stays, and nobody is there any more."""
        self._about_to_change(now)
        condition = {"type": "Ready", "status": "False", "lastTransitionTime": rfc3339(wall)}
        self.item["status"].update(phase="Failed", reason="Evicted", conditions=[condition])
        self.sessions.clear()

    def delete(self, now: float, wall: float, ends_at: float) -> None:
        """From now on it is Terminating; its launcher may serve on until then."""
        self._about_to_change(now)
        self.item["metadata"]["deletionTimestamp"] = rfc3339(wall)
        self.ends_at = ends_at

    def _about_to_change(self, now: float) -> None:
        """It may leave the endpoints by that, and informers see it as it is for a while."""
        if self.is_open:
            self.open_until = now
        self._was = [each for each in self._was if each[0] > now - LONGEST_LAG - 1.0]
        self._was.append((now, self.seen))
        self._seen = None
        meta = self.item["metadata"]
        meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1)


def _own(
    entries: list[dict[str, Any]], manager: str, at: str, kind: str, new: Mapping[str, str | None]
) -> None:
    """Note in managedFields who changed these labels or annotations, and when."""
    for entry in entries:
        for name in new:
            entry["fieldsV1"]["f:metadata"].get(kind, {}).pop(f"f:{name}", None)
    mine = next((entry for entry in entries if entry["manager"] == manager), None)
    if mine is None:
        mine = {"manager": manager, "operation": "Update", "fieldsV1": {"f:metadata": {}}}
        entries.append(mine)
    mine["time"] = at
    owned = mine["fieldsV1"]["f:metadata"].setdefault(kind, {})
    owned.update({f"f:{name}": {} for name, value in new.items() if value is not None})


def new_pod(number: int, template: int, now: float, wall: float) -> Pod:
    """Pending until its kubelet reports."""
    created = rfc3339(wall)
    meta = {
        "name": f"pod-{number}",
        "uid": f"{number * 7919 % 1000:03d}",  # in no order of age
        "resourceVersion": "1",
        "creationTimestamp": created,
        "labels": {ROUTABLE: "true"},
        "annotations": {},
        "managedFields": [],
        "ownerReferences": [{"uid": str(template), "controller": True}],
    }
    spec = {"nodeName": f"node-{number % NODES}", "containers": []}
    status = {"phase": "Pending", "startTime": created, "conditions": []}
    return Pod({"metadata": meta, "spec": spec, "status": status}, Users(now))
