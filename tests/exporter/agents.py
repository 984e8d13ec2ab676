"""Agents played by threads: real abstract sockets with whatever answer a test wants."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from contextlib import suppress
from typing import Any

from exporter.ledger import Ledger
from tests.lab.bokeh_servers import PATIENCE

QUIET = {
    "connected": 0, "lingering": 0, "blocked": 0, "pending": 0, "opening": 0,
    "live": 0, "stale": 0, "oldest_age_s": 0.0, "last_activity": 0.0,
}  # fmt: skip


def app(**counts: float) -> dict[str, Any]:
    return {**QUIET, **counts}


def answer(**values: Any) -> dict[str, Any]:
    """A worker's report: nobody there, nothing counted, unless told otherwise.

    As agents from before give it; newer keys come with `values`.
    """
    report: dict[str, Any] = {
        "at": 1000.0, "serving": True, "stalled_s": 0.0, "lag_s": 0.0, "utilization": 0.0,
        "loop_cpu_s": 0.0, "last_disconnect_age_s": None, "apps": {"/app": app()},
        "rss_bytes": 1, "cpu_s": 0.0, "cgroup": None, "info": {},
        "counters": [], "histograms": [],
    }  # fmt: skip
    return {**report, **values}


class Agent:
    """One worker of an instance; its answer may be changed, broken or withheld at any time."""

    def __init__(self, instance: str, slot: int | str, values: dict[str, Any] | bytes) -> None:
        self.values: dict[str, Any] | bytes | None = values
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        nonce = secrets.token_hex(4)
        self._socket.bind(f"\0bokeh-exporter/{instance}/{slot}/{os.getpid()}/{nonce}")
        self._socket.listen(16)
        self._clients: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            if self.values is None:  # hangs: the client waits in vain
                self._clients.append(client)
                continue
            whole = self.values
            with client, suppress(OSError):  # a starved machine may have let the deadline pass
                client.sendall(whole if isinstance(whole, bytes) else json.dumps(whole).encode())

    def die(self) -> None:
        """End as a killed process does: its socket is gone and so are its clients'."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for client in self._clients:
            client.close()


def patient(instance: str) -> Ledger:
    """A ledger that waits for workers of a busy machine; no worker here answers too late."""
    ledger = Ledger(instance)
    ledger.peers.deadline = PATIENCE
    return ledger
