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
        say(client, line)
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)
        answer: dict[str, Any] = json.loads(hear(client))
        return answer


def say(client: socket.socket, line: bytes) -> None:
    """Tell an agent something, unless it has answered before we come to say anything."""
    with suppress(BrokenPipeError):
        client.sendall(line)


def hear(client: socket.socket) -> bytes:
    """All that an agent answers. It may do so, and end the connection, before it reads our line."""
    answer = b""
    with suppress(ConnectionResetError):
        while chunk := client.recv(65536):
            answer += chunk
    return answer


def reports(server: Served, line: bytes = b"") -> list[dict[str, Any]]:
    return [ask(name, line) for name in agents(server)]


def report(server: Served, line: bytes = b"") -> dict[str, Any]:
    """The answer of the only worker."""
    (only,) = reports(server, line)
    return only


def drain(server: Served) -> None:
    """Tell every worker to take no new sessions, as the launcher does on SIGTERM.

    An agent waits for the line for 0.2 s only, so it is told until its answer confirms it.
    """

    def confirmed() -> bool:
        return all(report["draining"] for report in reports(server, DRAIN))

    wait_until(confirmed, "the workers to drain")
