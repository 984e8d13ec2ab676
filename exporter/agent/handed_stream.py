"""A connection that another worker has read from: its stream begins with what was read there."""

from __future__ import annotations

import socket
from functools import cache
from typing import Any


@cache
def classes() -> tuple[type[Any], type[Any]]:
    """Return Tornado's stream of a plain TCP connection, and that of a handed one.

    Made when first asked for: the agent is loaded in processes without Tornado too.
    """
    from tornado.iostream import IOStream

    class HandedStream(IOStream):
        """The stream of a handed connection. handed: nobody has looked at its first request."""

        def __init__(self, connection: socket.socket, first: bytes, **limits: Any) -> None:
            super().__init__(connection, **limits)
            self.first = memoryview(first)
            self.handed = True

        def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
            """Read what was read before, then what the client sends."""
            if not self.first:
                return super().read_from_fd(buf)
            count = min(len(buf), len(self.first))
            buf[:count] = self.first[:count]
            self.first = self.first[count:]
            return count

    return IOStream, HandedStream


def handed(connection: socket.socket, first: bytes, **limits: Any) -> Any:
    """Return the stream of a connection from which another worker has read these bytes."""
    return classes()[1](connection, first, **limits)


def unread(stream: Any) -> bytes:
    """Return what was received over a stream and that nobody has asked for yet."""
    return bytes(stream._read_buffer) + bytes(getattr(stream, "first", b""))
