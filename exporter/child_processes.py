"""The processes that the launcher started, and the TCP ports on which they listen."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from exporter.agent import pod
from exporter.estimate import read_sockets

PROC = Path("/proc")
SOCKET = "socket:["


class ProcessTree:
    """The launcher and its descendants. group: the child's process group, 0 before it starts."""

    def __init__(self) -> None:
        self.group = 0

    def has(self, pid: int) -> bool:
        """Return whether a process is the launcher, a descendant of it, or in its child's group."""
        own = os.getpid()
        if pid in (0, own):  # the kernel shows a process of another container as 0
            return pid == own
        return own in pod.ancestors(pid) or (self.group != 0 and group_of(pid) == self.group)

    def trusts(self, other: pod.Peer) -> bool:
        """Return whether an agent's answers count.

        Only agents of this launcher's own server are trusted, whatever user they run as.
        """
        return self.has(other.pid)


def group_of(pid: int) -> int | None:
    """Return the process group of a process, or None if the process has ended."""
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def sockets_below(root: int, group: int) -> frozenset[int] | None:
    """Return the inode numbers of the sockets of descendants of `root` and members of `group`.

    Returns None if one of these processes runs as another user, which hides its sockets.
    """
    mine: set[int] = set()
    try:
        for pid in below(root, group):
            mine |= _sockets(pid)
    except PermissionError:
        return None
    return frozenset(mine)


def ports_of(sockets: frozenset[int] | None) -> tuple[int, ...] | None:
    """Return the ports on which these sockets listen, or None if the sockets are unknown."""
    if sockets is None:
        return None
    listening = read_sockets().listening if sockets else {}
    return tuple(sorted(port for port, numbers in listening.items() if numbers & sockets))


def below(root: int, group: int) -> set[int]:
    """Return the descendants of a process (without itself) and the members of a process group."""
    known = {
        int(entry.name): pod.parent_and_group(int(entry.name))
        for entry in PROC.iterdir()
        if entry.name.isdigit()
    }
    found = {pid for pid, (_, its_group) in known.items() if its_group == group}
    found.add(root)
    while more := {pid for pid, (parent, _) in known.items() if parent in found} - found:
        found |= more
    return found - {root}


def _sockets(pid: int) -> set[int]:
    """Return the inode numbers of a process's sockets, which are none once it has ended.

    Raises PermissionError if the process runs as another user.
    """
    found: set[int] = set()
    with suppress(FileNotFoundError, ProcessLookupError):
        for entry in (PROC / str(pid) / "fd").iterdir():
            with suppress(FileNotFoundError):
                link = str(entry.readlink())
                if link.startswith(SOCKET):
                    found.add(int(link[len(SOCKET) : -1]))
    return found
