"""Answers the collector on an abstract unix socket, from a thread of its own.

An abstract socket needs no volume and no permission, is reachable from every container of the pod,
and is gone the moment the process is. It has no access control, so it says counts and nothing else.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

SAMPLE_SECONDS = 1.0
CLIENT_SECONDS = 1.0  # a client that does not read cannot hold the agent longer


def socket_name(slot: int | str) -> str:
    """`bokeh-exporter/<instance>/<slot>/<pid>/<nonce>`.

    The nonce keeps two containers of a pod apart, both of which may have a pid 7.
    """
    instance = os.environ.get("BOKEH_EXPORTER_INSTANCE", "default")
    return f"bokeh-exporter/{instance}/{slot}/{os.getpid()}/{secrets.token_hex(4)}"


def listen(slot: int | str) -> socket.socket:
    """A listening abstract socket under this process's name. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"\0{socket_name(slot)}")
    listener.listen(16)
    # A forked child would keep the name alive after this process's death and answer for it.
    os.register_at_fork(after_in_child=listener.close)
    return listener


def answer_one(listener: socket.socket, report: Callable[[], dict[str, Any]]) -> None:
    """Accept one client and send it the report. Raises TimeoutError when nobody came."""
    client, _ = listener.accept()
    with client, suppress(OSError):
        client.settimeout(CLIENT_SECONDS)
        client.sendall(json.dumps(report(), separators=(",", ":")).encode())


def start(slot: int, report: Callable[[], dict[str, Any]], sample: Callable[[], None]) -> None:
    """Answer for ever in a daemon thread, sampling the loops about once a second."""
    listener = listen(slot)
    listener.settimeout(SAMPLE_SECONDS)

    def run() -> None:
        while True:
            try:
                answer_one(listener, report)
            except TimeoutError:
                sample()

    threading.Thread(target=run, name="bokeh-exporter", daemon=True).start()
