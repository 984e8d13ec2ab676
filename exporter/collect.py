"""Asks every worker of an instance at once: who is there, what they say, who does not answer.

Standard library only: the launcher uses it too and should stay as small as PID 1 can be.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LISTENING = "00010000"  # __SO_ACCEPTCON in the Flags column: accepted sockets bear the same name
DEADLINE_SECONDS = 0.5  # an idle worker answers in 1 ms, one that burns its CPU in 30 ms
LAUNCHER = "launcher"


@dataclass(frozen=True, slots=True)
class Name:
    """An agent's socket name taken apart; `text` is the whole and unlike any other ever."""

    text: str
    slot: str
    pid: int


def find(instance: str, table: Path = Path("/proc/net/unix")) -> tuple[Name, ...]:
    """The agents and launchers of an instance that are alive now, by slot and pid."""
    prefix = f"@bokeh-exporter/{instance}/"
    try:
        lines = table.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ()
    rows = (line.split() for line in lines if prefix in line)
    paths = (row[7] for row in rows if len(row) == 8 and row[3] == LISTENING)
    names = (_name(path, prefix) for path in paths if path.startswith(prefix))
    return tuple(sorted((n for n in names if n is not None), key=lambda n: (n.slot, n.pid)))


def _name(path: str, prefix: str) -> Name | None:
    parts = path.removeprefix(prefix).split("/")
    if len(parts) != 3 or not parts[1].isdigit():
        return None
    return Name(path.removeprefix("@"), parts[0], int(parts[1]))


def ask(names: Iterable[Name], deadline: float = DEADLINE_SECONDS) -> dict[Name, bytes]:
    """What each one answered in full within `deadline` seconds; the silent ones are left out."""
    answers: dict[Name, bytes] = {}
    until = time.monotonic() + deadline
    with selectors.DefaultSelector() as selector:
        for name in names:
            _connect(name, selector)
        while selector.get_map() and (left := until - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                _receive(key, selector, answers)
        for key in list(selector.get_map().values()):
            _close(key.fileobj, selector)
    return answers


def _connect(name: Name, selector: selectors.BaseSelector) -> None:
    """Connecting to a unix socket succeeds or fails at once; EAGAIN is a full backlog."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.setblocking(False)
    try:
        client.connect(f"\0{name.text}")
    except OSError:
        client.close()
        return
    selector.register(client, selectors.EVENT_READ, (name, bytearray()))


def _receive(
    key: selectors.SelectorKey, selector: selectors.BaseSelector, answers: dict[Name, bytes]
) -> None:
    name, received = key.data
    try:
        chunk = key.fileobj.recv(65536)  # type: ignore[union-attr]
    except OSError:  # the worker died while it wrote
        _close(key.fileobj, selector)
        return
    if chunk:
        received += chunk
        return
    answers[name] = bytes(received)
    _close(key.fileobj, selector)


def _close(client: object, selector: selectors.BaseSelector) -> None:
    assert isinstance(client, socket.socket)  # noqa: S101 - nothing else is ever registered
    selector.unregister(client)
    client.close()
