"""Detection of bytes that still flow over a connection whose pings are not answered.

A pong waits behind the data that its client is sending, and a ping behind the data that the client
has not received yet. So a large upload or document on a slow network can leave pings unanswered for
minutes although the client is there.
"""

from __future__ import annotations

import socket
import struct
from typing import Any, NamedTuple

# Offsets in Linux's struct tcp_info, which have never changed.
UNACKED, TOTALS, NOT_SENT = 24, 120, 144
SIZE = 148
LEAST_BYTES = 1000  # per interval; the kernel acknowledges even pings that are not answered


class Flow(NamedTuple):
    """The bytes of a TCP connection so far, and whether some are not acknowledged yet."""

    acknowledged: int
    received: int
    pending: bool


def flow_of(connection: Any) -> Flow | None:
    """Return the flow of a Bokeh connection's WebSocket, or None if it does not use TCP."""
    try:
        stream = connection._socket.ws_connection.stream
        info = stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SIZE)
        acknowledged, received = struct.unpack_from("=QQ", info, TOTALS)
        (unacked,) = struct.unpack_from("=I", info, UNACKED)
        (not_sent,) = struct.unpack_from("=I", info, NOT_SENT)
    except (AttributeError, OSError, struct.error):
        return None
    return Flow(acknowledged, received, bool(unacked or not_sent))


def flows(before: Flow | None, now: Flow | None) -> bool:
    """Return whether the client has sent bytes, or received bytes that were waiting for it."""
    if before is None or now is None:
        return False
    taken = now.acknowledged - before.acknowledged
    return now.received > before.received or (now.pending and taken >= LEAST_BYTES)
