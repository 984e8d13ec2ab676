"""Takes connections that other workers of this server have accepted.

A worker sends a connection, the claim to it and what it has read in one message. This worker gets
the claim and answers. If the giver has waited for too long and has got the claim itself, or if
anything else is in the way, this worker closes what it was sent, and the giver answers.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from . import claim
from .board import Seat
from .handed_stream import handed
from .thread_errors import ThreadErrors

MOST_BYTES = 100_000  # that a message of the kernel's default size holds

ServerAt = Callable[[int], Any]


def take_from(giver: socket.socket, mine: Seat, server_at: ServerAt, errors: ThreadErrors) -> None:
    """Take the connection that a worker has sent, or is about to send."""
    from tornado.ioloop import IOLoop

    giver.setblocking(False)
    if _receive(giver, mine, server_at, errors):
        return
    io_loop = IOLoop.current()

    def heed(_: Any, _events: int) -> None:
        io_loop.remove_handler(giver)
        if not _receive(giver, mine, server_at, errors):
            giver.close()

    io_loop.add_handler(giver, heed, io_loop.READ)


def _receive(giver: socket.socket, mine: Seat, server_at: ServerAt, errors: ThreadErrors) -> bool:
    """Receive a connection and let its giver go; False if its giver has sent nothing yet."""
    try:
        flags = socket.MSG_CMSG_CLOEXEC
        read, descriptors, _flags, _address = socket.recv_fds(giver, MOST_BYTES, 2, flags)
    except BlockingIOError:
        return False
    except OSError:  # the giver has ended
        read, descriptors = b"", []
    with giver:
        try:
            if _take_if_claimed(read, descriptors, server_at):
                mine.take()
        except Exception as error:
            errors.tell(error)
    return True


def _take_if_claimed(read: bytes, descriptors: list[int], server_at: ServerAt) -> bool:
    """Take a connection if this worker can get the claim to it.

    The kernel drops the descriptors that this process has no room for.
    """
    if len(descriptors) != 2:
        for descriptor in descriptors:
            os.close(descriptor)
        return False
    connection, token = descriptors
    try:
        return take(_tcp(connection), read, server_at, partial(claim.get, token))
    finally:
        os.close(token)


def _tcp(descriptor: int) -> socket.socket:
    """Return the socket of a TCP connection; the kernel is asked for its family only."""
    kind, protocol = socket.SOCK_STREAM, socket.IPPROTO_TCP
    return socket.socket(type=kind, proto=protocol, fileno=descriptor)


def take(
    connection: socket.socket, read: bytes, server_at: ServerAt, is_mine: Callable[[], bool]
) -> bool:
    """Continue with a connection as if it had been accepted here, or close this descriptor of it.

    read: what was received over it. is_mine: whether this worker answers; asked when nothing else
    is in the way. Returns whether the connection continues.
    """
    connection.setblocking(False)
    try:
        address, here = connection.getpeername(), connection.getsockname()
    except OSError:  # its client is gone
        connection.close()
        return False
    try:
        server = server_at(here[1])
        limits = {each: getattr(server, each) for each in ("max_buffer_size", "read_chunk_size")}
        stream = handed(connection, read, **limits) if is_mine() else None
    except BaseException:
        connection.close()
        raise
    if stream is None:
        connection.close()
        return False
    server.handle_stream(stream, address)
    return True
