"""The kernel's TCP sockets of this network namespace, one row each.

The kernel is asked over netlink, where it has that (sock_diag(7)): on an idle machine it answers in
under 1 ms, and takes 11 to 15 ms to print the same as text. Where netlink is refused or missing,
the text is read.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ESTABLISHED = 0x01
# FIN_WAIT1, LAST_ACK and CLOSING: the server has closed, and the kernel still delivers.
DELIVERING = (ESTABLISHED, 0x04, 0x09, 0x0B)
LISTEN = 0x0A
STATES = (LISTEN, *DELIVERING)
PROC_NET = Path("/proc/net")

_SOCK_DIAG, _BY_FAMILY = 4, 20  # NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY
_REQUEST_ALL = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_QUESTION = struct.Struct("=BBBxI48x")  # inet_diag_req_v2: family, protocol, extensions, states
# inet_diag_msg: family, state, -, -, ports, addresses, ..., unsent bytes (wqueue), user, inode
_ANSWER = struct.Struct("=BBxx2s2s16s16s20xI4xI")
_PATIENCE = 1.0  # seconds; a sandbox may take the question and never answer
_LARGEST = 1 << 16  # bytes; the kernel's messages have at most 32 KiB


class Row(NamedTuple):
    """One socket. local, remote: address and port, in the format of the kernel's text.

    unacknowledged: bytes that the kernel has and the other end has not acknowledged. inode: 0
    while a connection waits to be accepted.
    """

    state: int
    local: str
    remote: str
    unacknowledged: int
    inode: int


def rows() -> Iterable[Row]:
    """Return the sockets that listen, are established or still deliver. Raises OSError."""
    return by_netlink() if _has_netlink() else printed(PROC_NET)


@cache
def _has_netlink() -> bool:
    """Return whether the kernel answers over netlink. It is tried once: a refusal may be logged."""
    if not hasattr(socket, "AF_NETLINK"):
        return False
    try:
        by_netlink()
    except OSError:
        return False
    return True


def by_netlink() -> list[Row]:
    """Return the rows as the kernel answers over netlink. Raises OSError if it does not."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, _SOCK_DIAG) as kernel:
        kernel.settimeout(_PATIENCE)
        families = (socket.AF_INET, socket.AF_INET6)
        return [row for family in families for row in _asked(kernel, family)]


def _asked(kernel: socket.socket, family: int) -> Iterator[Row]:
    wanted = sum(1 << state for state in STATES)
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, wanted)
    length = _HEADER.size + len(question)
    kernel.send(_HEADER.pack(length, _BY_FAMILY, _REQUEST_ALL, 0, 0) + question)
    while True:
        answer = kernel.recv(_LARGEST)
        at = 0
        while at < len(answer):
            length, kind, *_ = _HEADER.unpack_from(answer, at)
            if kind == _DONE:
                return
            if kind == _ERROR:
                code = -struct.unpack_from("=i", answer, at + _HEADER.size)[0]
                raise OSError(code, "the kernel does not list its sockets over netlink")
            yield _row(*_ANSWER.unpack_from(answer, at + _HEADER.size))
            at += (length + 3) & ~3


def _row(
    family: int,
    state: int,
    port: bytes,
    other_port: bytes,
    local: bytes,
    remote: bytes,
    unsent: int,
    inode: int,
) -> Row:
    size = 4 if family == socket.AF_INET else 16
    here, there = _end(local[:size], port), _end(remote[:size], other_port)
    # Of a listening socket, netlink tells here how many connections may wait.
    return Row(state, here, there, 0 if state == LISTEN else unsent, inode)


def _end(address: bytes, port: bytes) -> str:
    """Return one end as the kernel prints it: the words of its address as numbers, and its port."""
    words = struct.unpack(f"={len(address) // 4}I", address)
    return "".join(f"{word:08X}" for word in words) + f":{port.hex().upper()}"


def printed(proc_net: Path) -> Iterator[Row]:
    """Return the rows of the kernel's text, none if it lacks a table. Raises OSError."""
    for table in ("tcp", "tcp6"):
        for row in map(str.split, lines(proc_net / table)):
            if len(row) >= 10 and row[9].isdigit() and (state := int(row[3], 16)) in STATES:
                unsent = int(row[4].partition(":")[0], 16)
                yield Row(state, row[1], row[2], unsent, int(row[9]))


def lines(path: Path) -> list[str]:
    """Return the lines of a kernel table, none if the kernel lacks the table. Raises OSError."""
    try:
        return path.read_text("ascii", "replace").splitlines()[1:]
    except FileNotFoundError:
        return []
