"""Speaks to the agents of a launched server over their own sockets, as launcher and sidecar do."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any
from urllib.parse import urlparse

from exporter.agent import pod
from exporter.agent.pod import Name
from tests.lab.bokeh_servers import PATIENCE, Served, instance_at, wait_until

DRAIN = b'{"drain": true}\n'


def instance_of(server: Served) -> str:
    at = urlparse(server.url)
    return instance_at(at.hostname or "", at.port or 0)


def agents(server: Served) -> list[Name]:
    """The workers' sockets, by slot."""
    return [name for name in pod.listening(instance_of(server)) if name.slot != pod.LAUNCHER]


def ask(name: Name, line: bytes = b"") -> dict[str, Any]:
    """What an agent answers, after it was told something."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE)
        client.connect(name.address)
        with suppress(BrokenPipeError):  # it answered before we came to say anything
            client.sendall(line)
            client.shutdown(socket.SHUT_WR)
        answer: dict[str, Any] = json.loads(b"".join(iter(lambda: client.recv(65536), b"")))
        return answer


def reports(server: Served, line: bytes = b"") -> list[dict[str, Any]]:
    return [ask(name, line) for name in agents(server)]


def report(server: Served, line: bytes = b"") -> dict[str, Any]:
    """The answer of the only worker."""
    (only,) = reports(server, line)
    return only


def drain(server: Served) -> None:
    """Tell every worker to take no new sessions, as the launcher does on SIGTERM.

    An agent waits for the line for 20 ms only, so it is told until its answer confirms it.
    """

    def confirmed() -> bool:
        return all(report["draining"] for report in reports(server, DRAIN))

    wait_until(confirmed, "the workers to drain")
