"""What the exporters of many pods would say, from one server: for benchmarks that need no pods.

Each target is a path of its own, so that Prometheus scrapes each at a moment of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

Sessions = Callable[[], Mapping[str, int]]


class Exporters:
    """A target is a path with the connected sessions of its pods; `scrapes` has when it was read.

    Times are Unix seconds.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.targets: dict[str, Sessions] = {}
        self.scrapes: dict[str, list[float]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, name="exporters")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add(self, path: str, sessions: Sessions) -> tuple[str, Mapping[str, str]]:
        """A target as `PrometheusServer` takes it."""
        self.targets[path] = sessions
        self.scrapes[path] = []
        return self.address, {"__metrics_path__": path, "instance": path}

    def text(self, path: str) -> str:
        self.scrapes[path].append(time.time())
        labels = f'app="/app",state="connected",quality="exact",namespace="{self.namespace}"'
        lines = [
            f'bokeh_sessions{{{labels},pod="{pod}"}} {count}'
            for pod, count in self.targets[path]().items()
        ]
        return "\n".join(["# TYPE bokeh_sessions gauge", *lines, ""])


def _handler(exporters: Exporters) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one segment an answer

        def do_GET(self) -> None:
            content = exporters.text(self.path).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Handler
