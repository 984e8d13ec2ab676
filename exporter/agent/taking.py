"""Takes connections that other workers of this server have accepted."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from .board import Seat
from .handed_stream import handed
from .thread_errors import ThreadErrors

READY = b"\1"  # the loop of the worker that is to take it runs
MOST_BYTES = 100_000  # that a message of the kernel's default size holds

ServerAt = Callable[[int], Any]


def take_from(giver: socket.socket, mine: Seat, server_at: ServerAt, errors: ThreadErrors) -> None:
    """Tell a worker that this one is ready, and take the connection that it sends then.

    A descriptor is reserved before: the kernel drops a connection that arrives without a free one.
    """
    from tornado.ioloop import IOLoop

    giver.setblocking(False)
    try:
        place = os.dup(giver.fileno())
    except OSError:  # the giver answers the request
        giver.close()
        return
    try:
        giver.send(READY)
    except OSError:  # it has waited for too long
        os.close(place)
        giver.close()
        return
    io_loop = IOLoop.current()
    heed = partial(_receive, place=place, mine=mine, server_at=server_at, errors=errors)
    io_loop.add_handler(giver, heed, io_loop.READ)


def _receive(
    giver: Any, _: int, *, place: int, mine: Seat, server_at: ServerAt, errors: ThreadErrors
) -> None:
    """Receive a connection in the place of a reserved descriptor, if its giver has sent it."""
    from tornado.ioloop import IOLoop

    descriptors: list[int] = []
    try:
        giver.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return
    except OSError:  # the giver has ended
        pass
    os.close(place)
    try:
        flags = socket.MSG_CMSG_CLOEXEC
        read, descriptors, _flags, _address = socket.recv_fds(giver, MOST_BYTES, 1, flags)
    except OSError:
        read = b""
    IOLoop.current().remove_handler(giver)
    giver.close()
    if read:
        mine.take()
    for descriptor in descriptors:
        try:
            take(_tcp(descriptor), read, server_at)
        except Exception as error:
            errors.tell(error)


def _tcp(descriptor: int) -> socket.socket:
    """Return the socket of a TCP connection; the kernel is asked for its family only."""
    kind, protocol = socket.SOCK_STREAM, socket.IPPROTO_TCP
    return socket.socket(type=kind, proto=protocol, fileno=descriptor)


def take(connection: socket.socket, read: bytes, server_at: ServerAt) -> None:
    """Continue with a connection as if it had been accepted here.

    read: what was received over it. Raises OSError if its client is gone.
    """
    connection.setblocking(False)
    try:
        address = connection.getpeername()
        server = server_at(connection.getsockname()[1])
        limits = {each: getattr(server, each) for each in ("max_buffer_size", "read_chunk_size")}
        stream = handed(connection, read, **limits)
    except BaseException:
        connection.close()
        raise
    server.handle_stream(stream, address)
