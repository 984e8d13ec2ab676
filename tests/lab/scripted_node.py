"""A scripted node: it runs nothing and reports what the test wants to be true of its pods.

The Deployment, ReplicaSet, HPA and EndpointSlice controllers cannot tell the difference.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from tests.lab.access import connected, end_watch, raw
from tests.lab.pod_status import Health, pod_status

Pod = Mapping[str, Any]
Hook = Callable[[Pod], Health | None]
TICK = 0.05  # seconds between two looks at the pods
HEARTBEAT = 10.0  # seconds; the node controller gives a node up after 50 without one
TIMEOUT = 5.0  # seconds for one request
ZONE = "zone-1"
CAPACITY = {"cpu": "10000", "memory": "100Ti", "pods": "10000"}
# What the API server says when a pod or its revision is gone meanwhile, and when it stops itself.
_PASSING = (ApiException, HTTPError, ValueError)  # the last: a line that was cut short


def rfc3339() -> str:
    """The time now, in whole seconds as Kubernetes keeps it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class _Played:
    """A pod on this node and what was last reported of it."""

    pod: Pod
    ip: str
    since: float = field(default_factory=time.monotonic)
    started: str = field(default_factory=rfc3339)
    health: Health | None = None


class ScriptedNode:
    """A Node with room for 10,000 pods, and two threads that play its kubelet.

    ready_after: seconds from a pod's coming to this node to its being Ready.
    hook: given a pod as the API server's JSON, says what becomes of it; asked again at every tick,
        so that a test can change its mind. None, or an answer of None: it gets Ready.
    network: the first half of new pods' addresses; "127.1" is one where a test can listen.
    """

    def __init__(self, kubeconfig: Path, name: str = "scripted-node") -> None:
        self.name = name
        self.kubeconfig = kubeconfig
        self.reset()
        self._pods: dict[str, _Played] = {}
        self._addresses = (
            f"{high}.{low}" for high, low in itertools.product(range(256), range(1, 255))
        )
        self._stopping = threading.Event()
        self._stream: BaseHTTPResponse | None = None
        self._stack = ExitStack()
        self._core: Any = None

    def reset(self) -> None:
        """Every pod gets Ready at once again, with an address of the usual network."""
        self.ready_after = 0.0
        self.hook: Hook | None = None
        self.network = "10.244"

    def __enter__(self) -> Self:
        api = self._stack.enter_context(connected(self.kubeconfig))
        self._core = client.CoreV1Api(api)
        labels = {"topology.kubernetes.io/zone": ZONE}
        self._core.create_node({"metadata": {"name": self.name, "labels": labels}})
        self._beat()
        # Admission adds the taint not-ready; with it pods would wait for the node controller.
        self._core.patch_node(self.name, {"spec": {"taints": None}}, _request_timeout=TIMEOUT)
        for work in (self._watch, self._play):
            thread = threading.Thread(target=work, name=f"{self.name}-{work.__name__}")
            thread.start()
            self._stack.callback(thread.join)
        self._stack.callback(self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _stop(self) -> None:
        self._stopping.set()
        end_watch(self._stream)

    def _watch(self) -> None:
        while not self._stopping.wait(TICK):
            with suppress(*_PASSING):
                self._follow()

    def _follow(self) -> None:
        """List the pods of this node, then follow their changes until the server ends the watch."""
        list_pods = self._core.list_pod_for_all_namespaces
        where = {"field_selector": f"spec.nodeName={self.name}"}
        listed = raw(list_pods, **where, _request_timeout=TIMEOUT)
        known = {pod["metadata"]["uid"] for pod in listed["items"]}
        for uid in set(self._pods) - known:
            del self._pods[uid]
        for pod in listed["items"]:
            self._see(pod)
        version = listed["metadata"]["resourceVersion"]
        self._stream = list_pods(
            **where,
            watch=True,
            resource_version=version,
            timeout_seconds=300,
            _preload_content=False,
        )
        if self._stopping.is_set():
            return
        for line in self._stream:
            event = json.loads(line)
            if event["type"] == "ERROR":  # 410: too old; list again
                return
            self._see(event["object"], gone=event["type"] == "DELETED")

    def _see(self, pod: Pod, *, gone: bool = False) -> None:
        uid = pod["metadata"]["uid"]
        if gone:
            self._pods.pop(uid, None)
        elif uid in self._pods:
            self._pods[uid].pod = pod
        else:
            self._pods[uid] = _Played(pod, f"{self.network}.{next(self._addresses)}")

    def _play(self) -> None:
        beat_at = time.monotonic() + HEARTBEAT
        while not self._stopping.wait(TICK):
            for played in list(self._pods.values()):
                with suppress(*_PASSING):
                    self._act(played)
            if time.monotonic() >= beat_at:
                beat_at += HEARTBEAT
                with suppress(*_PASSING):
                    self._beat()

    def _act(self, played: _Played) -> None:
        """What a kubelet would do now; a refusal (gone, changed) is met again at the next tick."""
        metadata = played.pod["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        if "deletionTimestamp" in metadata:
            now = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
            delete = self._core.delete_namespaced_pod
            raw(delete, name, namespace, body=now, _request_timeout=TIMEOUT)
        elif (health := self._health(played)) is not played.health:
            status = pod_status(
                played.pod, health, ip=played.ip, started=played.started, now=rfc3339()
            )
            patch = self._core.patch_namespaced_pod_status
            raw(patch, name, namespace, status, _request_timeout=TIMEOUT)
            played.health = health

    def _health(self, played: _Played) -> Health:
        chosen = self.hook(played.pod) if self.hook else None
        waited = time.monotonic() - played.since >= self.ready_after
        return chosen or (Health.READY if waited else Health.NOT_READY)

    def _beat(self) -> None:
        """Report that the node is alive and how much fits on it."""
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        status = {
            "capacity": CAPACITY,
            "allocatable": CAPACITY,
            "conditions": [{**ready, "lastHeartbeatTime": rfc3339()}],
        }
        self._core.patch_node_status(self.name, {"status": status}, _request_timeout=TIMEOUT)
