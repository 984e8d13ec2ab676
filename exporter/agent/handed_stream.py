"""A connection that another worker has read from: its stream begins with what was read there."""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import cache
from typing import Any


@cache
def classes() -> tuple[type[Any], type[Any]]:
    """Return Tornado's stream of a plain TCP connection, and that of a handed one.

    Made when first asked for: the agent is loaded in processes without Tornado too.
    """
    from tornado.iostream import IOStream

    class HandedStream(IOStream):
        """The stream of a handed connection.

        handed: nobody has looked at its first request. leaves: it is being handed to another
        worker.
        """

        def __init__(self, connection: socket.socket, first: bytes, **limits: Any) -> None:
            super().__init__(connection, **limits)
            self.first = memoryview(first)
            self.handed = True
            self.leaves = False

        def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
            """Read what was read before, then what the client sends."""
            if not self.first:
                return super().read_from_fd(buf)
            count = min(len(buf), len(self.first))
            buf[:count] = self.first[:count]
            self.first = self.first[count:]
            return count

        def close_fd(self) -> None:
            """End the connection, of which another worker may have a descriptor for a while."""
            if not self.leaves:
                with suppress(OSError):  # its client has ended it
                    self.socket.shutdown(socket.SHUT_RDWR)
            super().close_fd()

    return IOStream, HandedStream


def handed(connection: socket.socket, first: bytes, **limits: Any) -> Any:
    """Return the stream of a connection from which another worker has read these bytes."""
    return classes()[1](connection, first, **limits)


def detached(connection: Any) -> socket.socket:
    """Take a connection's socket from its stream. Raises OSError if there is no free descriptor."""
    kept: socket.socket = connection.stream.socket.dup()
    stream = connection.detach()
    stream.leaves = True
    stream.close()
    return kept


def unread(stream: Any) -> bytes:
    """Return what was received over a stream and that nobody has asked for yet."""
    return bytes(stream._read_buffer) + bytes(getattr(stream, "first", b""))
