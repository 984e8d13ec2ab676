"""The real HPA controller, made to decide about whatever a test sets up.

kube-controller-manager runs on a real API server and reads its metrics and scale targets through
that server from `ServedApis`. One sync a second and HPA's own defaults for all else.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from tests.hpa.registration import registered
from tests.hpa.served_apis import GROUPS, SCALE_GROUP, SCALE_VERSION, TARGET_KIND, ServedApis
from tests.lab.access import end_watch
from tests.lab.control_plane import ControlPlane

NAMESPACE = "default"
SYNC_PERIOD = 1.0  # seconds
CONTROLLER_OPTIONS = {
    # No other: the garbage collector of pods would fail a terminating one that has no node.
    "controllers": "horizontal-pod-autoscaler-controller,serviceaccount-controller",
    "horizontal_pod_autoscaler_sync_period": f"{SYNC_PERIOD:g}s",
    "concurrent_horizontal_pod_autoscaler_syncs": 20,
}


class Oracle:
    """A control plane, the three APIs behind it, and every status that an HPA ever had.

    programs: the folder with the programs. folder: an empty one. options: of the controllers.
    """

    def __init__(
        self, programs: Path, folder: Path, options: Mapping[str, object] = CONTROLLER_OPTIONS
    ) -> None:
        self.cluster = ControlPlane(programs, folder, options)
        self.statuses: dict[str, list[dict[str, Any]]] = {}
        self._stream: BaseHTTPResponse | None = None
        self._stopping = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.cluster)
            folder = self.cluster.certificates
            self.apis = stack.enter_context(
                ServedApis(folder / "apiserver.crt", folder / "apiserver.key")
            )
            self.hpas: Any = client.AutoscalingV2Api(self.cluster.api)
            stack.enter_context(registered(self.cluster, NAMESPACE, GROUPS, self.apis.port))
            self.cluster.restart_controllers()
            watch = threading.Thread(target=self._watch, name="hpa-watch")
            watch.start()
            stack.callback(watch.join)
            stack.callback(self._stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def create(self, name: str, spec: Mapping[str, Any]) -> None:
        """An HPA for the target of the same name, or for the `scaleTargetRef` of its spec.

        Its first sync comes one sync period later.
        """
        target = {
            "apiVersion": f"{SCALE_GROUP}/{SCALE_VERSION}",
            "kind": TARGET_KIND,
            "name": name,
        }
        body = {"metadata": {"name": name}, "spec": {"scaleTargetRef": target, **spec}}
        self.hpas.create_namespaced_horizontal_pod_autoscaler(NAMESPACE, body)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self.hpas.delete_namespaced_horizontal_pod_autoscaler(name, NAMESPACE)

    def synced(self, name: str) -> bool:
        """Whether a first sync that could read its target is over."""
        return bool(self.apis.targets[name].syncs) and bool(self.statuses.get(name))

    def _watch(self) -> None:
        while not self._stopping.wait(0.05):
            with suppress(ApiException, HTTPError, json.JSONDecodeError):
                self._follow()

    def _follow(self) -> None:
        self._stream = self.hpas.list_namespaced_horizontal_pod_autoscaler(
            NAMESPACE, watch=True, timeout_seconds=600, _preload_content=False
        )
        if self._stopping.is_set():
            return
        for line in self._stream:
            changed = json.loads(line)["object"]
            if conditions := changed.get("status", {}).get("conditions"):
                if any(each["reason"] == "FailedGetScale" for each in conditions):
                    continue  # our API group is not discovered yet
                self.statuses.setdefault(changed["metadata"]["name"], []).append(changed["status"])

    def _stop(self) -> None:
        self._stopping.set()
        end_watch(self._stream)
