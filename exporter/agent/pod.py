"""The sockets over which the processes of a pod communicate, and which processes are trusted.

Abstract sockets need no volume, but every process of the network namespace can create them and
connect to them; with `hostNetwork` these are all processes of the node. So both ends ask the kernel
for the user of the other. A folder that only the pod's containers mount excludes all others.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

INSTANCE = "BOKEH_EXPORTER_INSTANCE"
SOCKETS = "BOKEH_EXPORTER_SOCKETS"
TRUSTED = "BOKEH_EXPORTER_TRUSTED_UIDS"
HAND_OFF = "BOKEH_EXPORTER_HAND_OFF"
FOLDER = "/run/bokeh-exporter"
LAUNCHER = "launcher"
IMAGE_UID = 65532  # the user of the exporter's image
TABLE = Path("/proc/net/unix")
LISTENING = "00010000"  # __SO_ACCEPTCON in the Flags column: accepted sockets have the same name
HOST_NETWORK = "# Kubernetes-managed hosts file (host network)."  # first line of the kubelet's file
POD_UID = re.compile(r"/pods/([0-9a-f-]{32,36})/(?:etc-hosts|containers/)")


class Peer(NamedTuple):
    """The process at the other end of a connection, as the kernel reports it.

    pid: 0 if it is in another container.
    """

    pid: int
    uid: int


class Name(NamedTuple):
    """The parts of a socket's name; `text` is the whole name, which is unique forever."""

    text: str
    slot: str
    pid: int

    @property
    def address(self) -> str:
        """The address to connect to: a file's path, or the abstract name."""
        return self.text if self.text.startswith("/") else f"\0{self.text}"


def instance() -> str:
    """Return the name that distinguishes several servers in one network namespace.

    A pod has a network namespace of its own and needs none. On the node's network the name is made
    from the pod's UID.
    """
    return os.environ.get(INSTANCE) or _of_pod() or "default"


@cache
def _of_pod(hosts: Path = Path("/etc/hosts"), mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return a name made from the pod's UID if the pod uses the node's network, else "".

    Both containers find the same name, because the kubelet mounts the hosts file of each from the
    pod's folder.
    """
    with suppress(OSError):
        if hosts.read_text("utf-8", "replace").startswith(HOST_NETWORK):
            found = POD_UID.search(mounts.read_text("utf-8", "replace"))
            return f"pod-{found[1]}" if found else ""
    return ""


def folder() -> str | None:
    """Return the folder for sockets, or None if none is mounted."""
    given = os.environ.get(SOCKETS, FOLDER)
    return given if os.path.isdir(given) else None  # noqa: PTH112 - a Path takes ten times as long


def prefix_and_separator(of: str) -> tuple[str, str]:
    """Return the prefix of an instance's socket names, and the separator of their parts."""
    place = folder()
    return (f"{place}/{of},", ",") if place else (f"bokeh-exporter/{of}/", "/")


def listening(of: str) -> list[Name]:
    """Return the names of an instance on which any process listens, trusted or not.

    If a folder is mounted, sockets outside of it are ignored. Raises OSError if the table cannot be
    read, for example without a free file descriptor.
    """
    prefix, separator = prefix_and_separator(of)
    shown = prefix if separator == "," else f"@{prefix}"
    rows = (line.split() for line in _table() if shown in line)
    paths = (row[7] for row in rows if len(row) == 8 and row[3] == LISTENING)
    names = (_taken_apart(path, shown, separator) for path in paths if path.startswith(shown))
    return sorted((n for n in names if n is not None), key=lambda name: (name.slot, name.pid))


def _taken_apart(path: str, prefix: str, separator: str) -> Name | None:
    parts = path.removeprefix(prefix).split(separator)
    if len(parts) != 3 or not _is_number(parts[1]):
        return None
    if parts[0] != LAUNCHER and not _is_number(parts[0]):
        return None
    return Name(path.removeprefix("@"), parts[0], int(parts[1]))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def sweep(of: str) -> None:
    """Remove the files of sockets whose processes have ended."""
    place = folder()
    if place is None:
        return
    with suppress(OSError):
        left = [f"{place}/{name}" for name in os.listdir(place) if name.startswith(f"{of},")]  # noqa: PTH208
        bound = {row[7] for row in map(str.split, _table()) if len(row) == 8} if left else set()
        for path in set(left) - bound:
            os.unlink(path)  # noqa: PTH108


def _table() -> list[str]:
    try:
        return TABLE.read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []


def connect(name: Name) -> socket.socket | None:
    """Return a non-blocking connection, or None if it is not accepted.

    Connecting to a unix socket succeeds or fails at once; EAGAIN means that the backlog is full.
    """
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.setblocking(False)
    try:
        client.connect(name.address)
    except OSError:
        client.close()
        return None
    return client


def peer(end: socket.socket) -> Peer:
    """Return the process at the other end; on the connecting side, the one that first listened."""
    credentials = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    pid, uid, _ = struct.unpack("iII", credentials)
    return Peer(pid, uid)


def may_answer(other: Peer) -> bool:
    """Return whether a peer's answers are trusted: it runs as our user, root or a trusted user."""
    return other.uid in {0, os.geteuid(), *named_uids(os.environ.get(TRUSTED, ""))}


def may_ask(other: Peer) -> bool:
    """Return whether a peer gets answers: it is trusted, or runs as the user of our image."""
    return other.uid == IMAGE_UID or may_answer(other)


def may_drain(other: Peer) -> bool:
    """Return whether a peer may start a drain: it is an ancestor of this process, as a launcher."""
    return other.pid in ancestors()


def named_uids(text: str) -> set[int]:
    """Return the user IDs in a list such as `1000,1001`, ignoring what is not a number."""
    return {int(part) for part in text.split(",") if _is_number(part.strip())}


def ancestors(pid: int | None = None) -> set[int]:
    """Return the visible ancestors of a process; None stands for this process."""
    found: set[int] = set()
    above = os.getppid() if pid is None else parent(pid)
    while above > 0 and above not in found:
        found.add(above)
        above = parent(above)
    return found


def parent(pid: int) -> int:
    """Return the parent of a process, or 0 if it is not visible."""
    return parent_and_group(pid)[0]


def parent_and_group(pid: int) -> tuple[int, int]:
    """Return the parent and the process group of a process; 0 and 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return 0, 0
    above, group = status.rpartition(") ")[2].split()[1:3]
    return int(above), int(group)
