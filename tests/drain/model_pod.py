"""A pod in memory with its users, as the API's JSON, so that what it carries is plain to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from autoscaler.adapters.pods import (
    CORDONED_AT,
    CORDONED_FOR,
    DELETION_COST,
    OUR_COST,
    PROTECTED,
    ROUTABLE,
    pod_state,
    rfc3339,
)
from autoscaler.model import Occupancy, PodState, Sample

COMES_BACK_WITHIN = 29.0  # seconds after a broken connection
NODES = 3


@dataclass
class Session:
    """until: an opening page becomes live then; a broken connection is given up then."""

    state: Literal["opening", "live", "broken"]
    until: float

    def reconnect(self) -> None:
        self.state, self.until = "live", inf


@dataclass(eq=False)
class Pod:
    """open_until: when new users could last be sent to it, if they no longer can.

    scraped: Prometheus reaches its sidecar; answers: the daemon does.
    """

    item: dict[str, Any]
    sessions: list[Session] = field(default_factory=list)
    last_disconnect: float | None = None
    open_until: float = -inf
    sample: Sample | None = None
    scraped: bool = True
    answers: bool = True
    _seen: PodState | None = None

    @property
    def seen(self) -> PodState:
        """As the API tells it."""
        self._seen = self._seen or pod_state(self.item)
        return self._seen

    @property
    def uid(self) -> str:
        return self.seen.uid

    @property
    def template(self) -> str:
        return self.seen.replica_set

    @property
    def is_open(self) -> bool:
        return self.seen.serving and self.seen.routable

    def count(self, state: str) -> int:
        return sum(session.state == state for session in self.sessions)

    def occupancy(self, now: float) -> Occupancy:
        quiet = None if self.last_disconnect is None else now - self.last_disconnect
        return Occupancy(self.count("live"), self.count("opening"), quiet_for=quiet, idle_for=0.0)

    def leftovers(self) -> list[str]:
        """What it carries of ours; protection is right while it has users."""
        ours = {CORDONED_AT, CORDONED_FOR, OUR_COST, DELETION_COST}
        ours |= PROTECTED.keys() if not self.sessions else set()
        labels = [] if self.seen.routable else [ROUTABLE]
        return labels + sorted(ours & self.item["metadata"]["annotations"].keys())

    def patch(
        self, labels: Mapping[str, str], annotations: Mapping[str, str | None], now: float
    ) -> None:
        """A merge patch of its metadata: None removes."""
        self._about_to_change(now)
        meta = self.item["metadata"]
        merged = {**meta["annotations"], **annotations}
        meta["labels"].update(labels)
        meta["annotations"] = {key: value for key, value in merged.items() if value is not None}

    def run(self, ready: bool, now: float) -> bool:
        """Its kubelet reports that it runs; whether that is news."""
        if self.seen.phase == "Running" and self.seen.ready is ready:
            return False
        self._about_to_change(now)
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": rfc3339(now)}
        self.item["status"].update(phase="Running", conditions=[condition])
        return True

    def _about_to_change(self, now: float) -> None:
        """It may leave the endpoints by that; proxies learn of it late."""
        if self.is_open:
            self.open_until = now
        self._seen = None

    def leave(self, session: Session, now: float) -> None:
        self.sessions.remove(session)
        self.last_disconnect = now

    def disconnect(self, session: Session, now: float) -> None:
        session.state, session.until = "broken", now + COMES_BACK_WITHIN
        self.last_disconnect = now

    def follow_clock(self, seconds: float) -> None:
        """The wall clock was set: what lies ahead or behind does so by as much as before."""
        self.open_until += seconds
        if self.last_disconnect is not None:
            self.last_disconnect += seconds
        for session in self.sessions:
            session.until += seconds

    def let_time_pass(self, now: float) -> None:
        """Pages open, connections that stay broken are given up."""
        for session in [each for each in self.sessions if each.until <= now]:
            if session.state == "broken":
                self.sessions.remove(session)
            else:
                session.reconnect()


def new_pod(number: int, template: int, now: float) -> Pod:
    """Pending until its kubelet reports."""
    created = rfc3339(now)
    meta = {
        "name": f"pod-{number}",
        "uid": f"{number * 7919 % 1000:03d}",  # in no order of age
        "creationTimestamp": created,
        "labels": {ROUTABLE: "true"},
        "annotations": {},
        "ownerReferences": [{"uid": str(template), "controller": True}],
    }
    spec = {"nodeName": f"node-{number % NODES}", "containers": []}
    status = {"phase": "Pending", "startTime": created, "conditions": []}
    return Pod({"metadata": meta, "spec": spec, "status": status})
