"""The pods of a namespace as they come, change and end: every change of each, in order."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from autoscaler.adapters.kubernetes.pods import pod_state
from autoscaler.model import PodState
from tests.lab.access import connected, end_watch, raw

Json = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """A pod as it is now. ended: it is deleted, or about to be."""

    app: str
    pod: PodState
    annotations: dict[str, str]
    ended: bool


class PodsSeen:
    """A watch as long as the block; the pods that are there come first."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._kubeconfig = kubeconfig
        self._namespace = namespace
        self._changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self._stream: BaseHTTPResponse | None = None
        self._known: dict[str, Json] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pods-seen")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        end_watch(self._stream)
        self._thread.join()

    def changes(self) -> Iterator[Change]:
        """Those since the last call."""
        while not self._changes.empty():
            yield self._changes.get()

    def _watch(self) -> None:
        with connected(self._kubeconfig) as api:
            self._core: Any = client.CoreV1Api(api)
            while not self._stopping.wait(0.05):
                with suppress(ApiException, HTTPError, ValueError):  # the last: a line cut short
                    self._follow()

    def _follow(self) -> None:
        """List, then follow until the server ends the watch, as it does when it has to queue."""
        listed = raw(self._core.list_namespaced_pod, self._namespace)
        found = {item["metadata"]["uid"]: item for item in listed["items"]}
        for uid in self._known.keys() - found.keys():
            self._see(self._known[uid], gone=True)
        for item in found.values():
            self._see(item)
        self._stream = self._core.list_namespaced_pod(
            self._namespace,
            watch=True,
            resource_version=listed["metadata"]["resourceVersion"],
            timeout_seconds=300,
            _preload_content=False,
        )
        if self._stopping.is_set():
            return
        for line in self._stream or ():
            event = json.loads(line)
            if event["type"] == "ERROR":  # 410: too old; list again
                return
            self._see(event["object"], gone=event["type"] == "DELETED")

    def _see(self, item: Json, *, gone: bool = False) -> None:
        uid = item["metadata"]["uid"]
        if gone:
            self._known.pop(uid, None)
        else:
            self._known[uid] = item
        self._changes.put(_change(item, gone))


def _change(item: Json, gone: bool) -> Change:
    meta, pod = item["metadata"], pod_state(item)
    annotations = meta.get("annotations") or {}
    return Change(meta["labels"]["app"], pod, annotations, gone or pod.deleting)
