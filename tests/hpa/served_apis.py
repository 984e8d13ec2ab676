"""Three APIs that a test serves behind the real API server, for the real HPA controller to read.

`metrics.k8s.io` says what pods use, `external.metrics.k8s.io` gives single figures, and the group
`scale.tests` has scale targets that are nothing but a number: no controller makes pods of them, so
a case stays as it was set up while it is decided on, and every look and every answer is recorded.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]
Figures = Callable[[], Sequence[int]]

SCALE_GROUP, SCALE_VERSION, TARGET_KIND = "scale.tests", "v1", "Target"
GROUPS: Mapping[str, str] = {
    SCALE_GROUP: SCALE_VERSION,
    "metrics.k8s.io": "v1beta1",
    "external.metrics.k8s.io": "v1beta1",
}
_RESOURCES: Mapping[str, list[Json]] = {
    SCALE_GROUP: [
        {"name": "targets", "kind": TARGET_KIND, "verbs": ["get"]},
        {
            "name": "targets/scale",
            "kind": "Scale",
            "group": "autoscaling",
            "version": "v1",
            "verbs": ["get", "update"],
        },
    ],
    "metrics.k8s.io": [{"name": "pods", "kind": "PodMetrics", "verbs": ["get", "list"]}],
    "external.metrics.k8s.io": [],
}


@dataclass
class Sync:
    """One look of the controller at a target, and what followed from it before the next look.

    at, asked_at: Unix seconds of the look and of the new number. figure: the external metric that
    it was given, in milli-units.
    """

    at: float
    current: int
    figure: int | None = None
    asked: int | None = None
    asked_at: float | None = None

    @property
    def replicas(self) -> int:
        """What the controller wanted after this look."""
        return self.current if self.asked is None else self.asked


@dataclass
class Target:
    """What a scale target shows, and every sync that the controller did with it.

    follows: the number becomes what is asked for, at once; otherwise it never changes.
    """

    name: str
    replicas: int
    status_replicas: int
    follows: bool = False
    syncs: list[Sync] = field(default_factory=list)

    def look(self) -> Json:
        self.syncs.append(Sync(time.time(), self.replicas))
        return self.scale()

    def ask(self, replicas: int) -> Json:
        sync = self.syncs[-1]
        sync.asked, sync.asked_at = replicas, time.time()
        if self.follows:
            self.replicas = self.status_replicas = replicas
        return self.scale()

    def lasted(self) -> float:
        """Seconds from the first look to the latest."""
        return self.syncs[-1].at - self.syncs[0].at if self.syncs else 0.0

    def scale(self) -> Json:
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {"name": self.name, "namespace": "default", "resourceVersion": "1"},
            "spec": {"replicas": self.replicas},
            "status": {"replicas": self.status_replicas, "selector": f"target={self.name}"},
        }


class ServedApis:
    """The HTTPS server of the three APIs, on a free port of localhost.

    pod_metrics: by target, the PodMetrics of its pods. external: by metric, its figures in
    milli-units; a metric that is not there is an error. A metric named like a target is noted in
    that target's syncs.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self.targets: dict[str, Target] = {}
        self.pod_metrics: dict[str, Iterable[Json]] = {}
        self.external: dict[str, Figures] = {}
        self._server = _server(self, certificate, key)
        self._thread = threading.Thread(target=self._server.serve_forever, name="served-apis")

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str, body: Json | None) -> Json | None:
        """What is at this path; body: of a PUT. None: nothing is."""
        address = urlsplit(path)
        match address.path.strip("/").split("/"):
            case ["apis", group, version] if GROUPS.get(group) == version:
                return _discovery(group)
            case ["apis", group, _, "namespaces", _, "targets", name, "scale"] if (
                group == SCALE_GROUP and name in self.targets
            ):
                target = self.targets[name]
                return target.look() if body is None else target.ask(body["spec"]["replicas"])
            case ["apis", "metrics.k8s.io", _, "namespaces", _, "pods"]:
                selector = parse_qs(address.query)["labelSelector"][0]
                return _list("PodMetrics", self.pod_metrics.get(selector.partition("=")[2], ()))
            case ["apis", "external.metrics.k8s.io", _, "namespaces", _, metric] if (
                metric in self.external
            ):
                return self._figures(metric)
        return None

    def _figures(self, metric: str) -> Json:
        figures = self.external[metric]()
        if metric in self.targets and self.targets[metric].syncs:
            self.targets[metric].syncs[-1].figure = sum(figures)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        items = [{"metricName": metric, "timestamp": now, "value": f"{n}m"} for n in figures]
        return _list("ExternalMetricValue", items)


def _discovery(group: str) -> Json:
    version = f"{group}/{GROUPS[group]}"
    resources = [
        {"singularName": "", "namespaced": True, **resource} for resource in _RESOURCES[group]
    ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": resources,
    }


def _list(kind: str, items: Iterable[Json]) -> Json:
    group = "metrics.k8s.io" if kind == "PodMetrics" else "external.metrics.k8s.io"
    version = f"{group}/v1beta1"
    return {"kind": f"{kind}List", "apiVersion": version, "metadata": {}, "items": [*items]}


def _server(apis: ServedApis, certificate: Path, key: Path) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one segment an answer: two would wait for each other for 40 ms
        timeout = 60

        def do_GET(self) -> None:
            self._reply(None)

        def do_PUT(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: Json | None) -> None:
            answer = apis.answer(self.path, body)
            content = json.dumps(answer if answer is not None else NOT_FOUND).encode()
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def handle(self) -> None:
            with suppress(ssl.SSLError, OSError):  # the API server went away
                super().handle()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False  # connections are kept open by the API server
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    # The handshake is then done by the connection's own thread.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    return server


NOT_FOUND = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}
