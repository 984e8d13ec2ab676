"""What the daemon has written into a cluster: found, and removed again.

Annotations are recognized by their prefix and not by their values, so that what nobody can read is
removed too. The label that a user put into the pod template stays.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from kubernetes import client

from autoscaler.adapters.kubernetes.calls import ask
from autoscaler.adapters.kubernetes.kinds import EVERYWHERE, Kinds
from autoscaler.adapters.kubernetes.objects import key_of
from autoscaler.adapters.kubernetes.pods import (
    CORDONED_AT,
    CORDONED_FOR,
    DELETION_COST,
    FIELD_MANAGER,
    OUR_COST,
    PROTECTED,
    ROUTABLE,
    Json,
)
from autoscaler.core.lease import DURATION, Place
from autoscaler.errors import AutoscalerError, ForbiddenError, TargetNotFoundError

PREFIX = "bokeh-autoscaler/"
PAGE = 500
LOOK_EVERY = 0.5


class Trace(NamedTuple):
    """An object that carries something of ours. keys: what of it is removed.

    is_cordoned: whether it is a pod that the daemon cordoned, whose label is set to `true`.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    keys: tuple[str, ...] = ()
    is_cordoned: bool = False

    def __str__(self) -> str:
        """Return it in words: what is removed from which object."""
        where = f"{self.kind} {self.namespace}/{self.name}"
        if self.kind == "Lease":
            return f"{where}: delete it"
        told = [f"remove {', '.join(self.keys)}"] if self.keys else []
        return f"{where}: {' and '.join([*(['uncordon'] if self.is_cordoned else []), *told])}"


class Removal:
    """Finds and removes the traces in some namespaces. Methods raise AutoscalerError."""

    def __init__(self, api: client.ApiClient) -> None:
        self._core = client.CoreV1Api(api)
        self._pods = Kinds.of(api).pods
        self._leases = client.CoordinationV1Api(api)

    def check_namespace(self, name: str) -> None:
        """Raise AutoscalerError if there is no such namespace; who may not read it is not told."""
        what = ("get", "namespaces", "", name)
        try:
            ask(what, self._core.read_namespace, name)
        except TargetNotFoundError:
            raise AutoscalerError(f"there is no namespace {name}; set --namespace") from None
        except ForbiddenError:
            return  # a Role of the namespace alone

    def pods(self, namespaces: Sequence[str]) -> list[Trace]:
        """Return the pods that carry something of ours, the cordoned ones first.

        namespaces: empty for all of them.
        """
        found = (pod for each in namespaces or [EVERYWHERE] for pod in self._listed(each))
        traces = [trace for pod in found if (trace := pod_trace(pod)) is not None]
        return sorted(traces, key=lambda trace: not trace.is_cordoned)

    def leases(self, places: Iterable[Place]) -> list[Json]:
        """Return the Leases of a daemon, those of its list and shards, that exist at these places.

        A name that ends with `-` stands for all whose names begin with it.
        """
        found = []
        for namespace, name in places:
            what = ("list", "leases", namespace, "")
            listed = ask(what, self._leases.list_namespaced_lease, namespace)["items"]
            found += [each for each in listed if _is_of(name, each["metadata"]["name"])]
        return found

    def is_led(self, leases: Sequence[Json]) -> bool:
        """Return whether a daemon still renews one of these Leases; this takes up to 12 s.

        A killed daemon still holds its Lease, and does not renew it.
        """
        if not any(_holder(each) for each in leases):
            return False
        until = time.monotonic() + DURATION
        while time.monotonic() < until:
            time.sleep(LOOK_EVERY)
            if any(self._has_changed(each) for each in leases):
                return True
        return False

    def remove(self, trace: Trace) -> None:
        """Remove what an object carries, or a Lease; does nothing if it is gone."""
        try:
            if trace.kind == "Lease":
                self._delete_lease(trace)
            else:
                self._clean_pod(trace)
        except TargetNotFoundError:
            return

    def _clean_pod(self, trace: Trace) -> None:
        labels = {ROUTABLE: "true"} if trace.is_cordoned else {}
        notes = dict.fromkeys(trace.keys)
        ask(
            ("patch", "pods", trace.namespace, trace.name),
            self._core.patch_namespaced_pod,
            trace.name,
            trace.namespace,
            {"metadata": {"uid": trace.uid, "labels": labels, "annotations": notes}},
            field_manager=FIELD_MANAGER,
            _content_type="application/merge-patch+json",
        )

    def _delete_lease(self, trace: Trace) -> None:
        ask(
            ("delete", "leases", trace.namespace, trace.name),
            self._leases.delete_namespaced_lease,
            trace.name,
            trace.namespace,
            body={"preconditions": {"uid": trace.uid}},
        )

    def _has_changed(self, lease: Json) -> bool:
        namespace, name = key_of(lease)
        what = ("get", "leases", namespace, name)
        try:
            now = ask(what, self._leases.read_namespaced_lease, name, namespace)
        except TargetNotFoundError:
            return False
        return _version(now) != _version(lease)

    def _listed(self, namespace: str) -> Iterator[Json]:
        for items, _ in self._pods.pages(namespace, limit=PAGE):
            yield from items


def pod_trace(pod: Json) -> Trace | None:
    """Return what a pod carries of ours, or None. Pure.

    A deletion cost and the annotations of node autoscalers are ours where our own note is beside
    them. A pod that somebody else cordoned stays cordoned.
    """
    meta = pod["metadata"]
    notes, labels = meta.get("annotations") or {}, meta.get("labels") or {}
    keys = {key for key in notes if key.startswith(PREFIX)}
    if OUR_COST in notes and notes.get(DELETION_COST) == notes[OUR_COST]:
        keys.add(DELETION_COST)
    ours = next(iter(PROTECTED))
    if notes.get(ours) == PROTECTED[ours]:
        keys |= {key for key, value in PROTECTED.items() if notes.get(key) == value}
    is_ours = CORDONED_AT in notes or CORDONED_FOR in notes
    is_cordoned = is_ours and labels.get(ROUTABLE, "true") != "true"
    if not keys:
        return None
    return Trace("Pod", *key_of(pod), meta["uid"], tuple(sorted(keys)), is_cordoned)


def lease_trace(lease: Json) -> Trace:
    """Return a Lease as what is to be deleted."""
    return Trace("Lease", *key_of(lease), lease["metadata"]["uid"])


def _is_of(name: str, found: str) -> bool:
    """Return whether a Lease has the name, or is that of the list or of a shard behind the name."""
    if not name.endswith("-"):
        return found == name
    end = found.removeprefix(name)
    return found.startswith(name) and (end == "daemons" or end.isdecimal())


def _holder(lease: Json) -> str:
    return (lease.get("spec") or {}).get("holderIdentity") or ""


def _version(lease: Json) -> str:
    return str(lease["metadata"]["resourceVersion"])
