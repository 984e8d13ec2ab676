"""The HTTP side: /metrics, /state, /healthz and /readyz on a port and threads of their own.

The app's port would answer from a random worker, and late whenever that worker's loop is busy.
"""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from exporter import collect
from exporter.exposition import render
from exporter.observe import Observer
from exporter.state import state

IDLE_SECONDS = 120  # Prometheus keeps its connection between scrapes, 60 s apart at most
POLL_SECONDS = 0.5
SIGNALS = {signal.SIGTERM, signal.SIGINT}
PLAIN = "text/plain; charset=utf-8"


class Response(NamedTuple):
    """A complete HTTP answer."""

    status: int
    content_type: str
    body: bytes


class Routes:
    """The four pages; HEAD and GET only."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._pages: dict[str, Callable[[str], Response]] = {
            "/metrics": self._metrics,
            "/state": self._state,
            "/healthz": lambda _: Response(200, PLAIN, b"ok\n"),
            "/readyz": self._ready,
        }

    def answer(self, path: str, accept: str) -> Response:
        """The page at `path`, its query ignored."""
        page = self._pages.get(path.partition("?")[0])
        if page is None:
            known = " ".join(self._pages)
            return Response(404, PLAIN, f"nothing here; try {known}\n".encode())
        return page(accept)

    def _metrics(self, accept: str) -> Response:
        body, content_type = render(self._observer.observe(), accept)
        return Response(200, content_type, body)

    def _state(self, accept: str) -> Response:
        del accept
        body = json.dumps(state(self._observer.observe()))
        return Response(200, "application/json", f"{body}\n".encode())

    def _ready(self, accept: str) -> Response:
        del accept
        if self._observer.observe().ready:
            return Response(200, PLAIN, b"ready\n")
        return Response(503, PLAIN, b"no Bokeh server is serving yet\n")


def handler(routes: Routes) -> type[BaseHTTPRequestHandler]:
    """The request handler class that the HTTP server wants."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = IDLE_SECONDS
        disable_nagle_algorithm = True  # head and body are two writes; Nagle would add 40 ms
        server_version = "bokeh-exporter"
        sys_version = ""

        def do_GET(self) -> None:
            response = routes.answer(self.path, self.headers.get("Accept", ""))
            self.send_response(response.status)
            self.send_header("Content-Type", response.content_type)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(response.body)

        do_HEAD = do_GET  # noqa: N815 - the names that http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing: a probe every few seconds is no news."""

    return Handler


class Server(ThreadingHTTPServer):
    """Dual-stack where the machine has IPv6; a broken connection is the client's business."""

    daemon_threads = True

    def __init__(self, address: str, port: int, routes: Routes) -> None:
        dual = not address and socket.has_dualstack_ipv6()
        self.address_family = socket.AF_INET6 if dual or ":" in address else socket.AF_INET
        self._dual = dual
        super().__init__((address, port), handler(routes))

    def server_bind(self) -> None:
        """Bind without http.server's reverse DNS look-up of the own host name."""
        if self._dual:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up in the middle of an answer is not worth a traceback."""


def server(instance: str, app_port: int, address: str, port: int) -> Server:
    """The pages of an instance, bound and not yet served. Raises OSError if the port is taken."""
    return Server(address, port, Routes(Observer(instance, app_port)))


def serve(instance: str, app_port: int, address: str, port: int) -> int:
    """Serve until told to stop. Raises OSError if the port cannot be had.

    After SIGTERM it serves on until the app's processes are gone: Kubernetes signals both
    containers at once, and the drain that then begins is watched through this port. A second
    SIGTERM, or SIGINT, ends it at once.
    """
    pages = server(instance, app_port, address, port)
    # Blocked and waited for instead of handled: no code runs in the middle of another.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    leaving = False
    while not (leaving and not collect.find(instance)):
        came = signal.sigtimedwait(SIGNALS, POLL_SECONDS)
        if came is not None and (leaving or came.si_signo == signal.SIGINT):
            break
        leaving = leaving or came is not None
    pages.server_close()
    return 0
