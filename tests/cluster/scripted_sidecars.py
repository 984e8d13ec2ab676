"""Sidecars of pods that run nothing: each answers `/state` at its pod's own loopback address."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.cluster.processes import free_ports


class ScriptedSidecars:
    """One port on many addresses of 127.0.0.0/8; a pod that nothing was said of has nobody."""

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self._live: dict[str, int] = {}
        self._servers: dict[str, ThreadingHTTPServer] = {}

    def say(self, ip: str, live: int) -> None:
        """From now on the sidecar at this address tells of so many users."""
        self._live[ip] = live
        if ip not in self._servers:
            server = self._servers[ip] = ThreadingHTTPServer((ip, self.port), self._handler(ip))
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()
        self._servers = {}

    def _handler(self, ip: str) -> type[BaseHTTPRequestHandler]:
        live = self._live

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(state(live[ip])).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        return Handler


def state(live: int) -> dict[str, object]:
    """The part of the exporter's `/state` that the daemon reads."""
    return {
        "workers": [{"ok": True}],
        "connections": {"live": live, "stale": 0},
        "sessions": {"connected": live, "pending": 0, "opening": 0, "blocked": 0},
        "last_disconnect_age_s": None,
        "last_activity_age_s": 0.0,
    }
