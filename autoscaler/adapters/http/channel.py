"""Requests to one server over persistent connections, each with one deadline for all its steps.

The timeout of an HTTP client applies to each `recv`, so a server that sends a byte per second can
delay it forever. Here each step gets only the remaining time: connecting, the TLS handshake,
sending, and receiving headers and body.
"""

from __future__ import annotations

import socket
import ssl
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from autoscaler.adapters.http.answers import CHUNK, HttpExchange, NoReply, Reply

# Seconds for each address of the server, because the first one may drop all packets.
CONNECT_WITHIN = 3.0
# Seconds after which an unused connection is closed; servers do so after minutes.
KEPT_FOR = 60.0
KEPT_AT_MOST = 16


class Endpoint(NamedTuple):
    """The address of a server.

    context: returns the TLS context of a new connection; None for plain HTTP.
    """

    host: str
    port: int
    context: Callable[[], ssl.SSLContext] | None = None

    @property
    def shown(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 80 if self.context is None else 443
        return host if self.port == default else f"{host}:{self.port}"


def endpoint_of(url: str, context: Callable[[], ssl.SSLContext]) -> Endpoint | None:
    """Return the endpoint of an address, or None if the address is invalid.

    context: returns the TLS context of a new connection, for https.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host:
        return None
    if parts.scheme == "http":
        return Endpoint(host, port or 80)
    return Endpoint(host, port or 443, context)


class Channel:
    """Connections to one server. Threads may share it; each request uses a connection alone."""

    def __init__(self, server: Endpoint) -> None:
        self._server = server
        self._idle: deque[tuple[float, socket.socket]] = deque()
        weakref.finalize(self, _close, self._idle)

    def get(
        self, target: str, headers: Mapping[str, str], *, within: float, largest: int
    ) -> Reply | NoReply:
        """Send a GET request and return the response.

        target: path and query. within: seconds for everything except the lookup of the host name,
        which takes as long as the machine's resolver. largest: size limit of the uncompressed body
        in bytes. Raises OSError if the connection fails, TimeoutError after `within`, and
        ValueError if target or headers are invalid.
        """
        deadline = time.monotonic() + within
        answer = HttpExchange(largest, packed=True)
        request = answer.request(target, self._server.shown, headers)
        if (kept := self._kept()) is not None:
            try:
                return self._ask(kept, request, answer, deadline)
            except ConnectionError:  # the server closed it while it was idle; try a new one
                if answer.has_begun:
                    raise
        return self._ask(self._connect(deadline), request, answer, deadline)

    def _ask(
        self, connection: socket.socket, request: bytes, answer: HttpExchange, deadline: float
    ) -> Reply | NoReply:
        """Make one exchange. The connection is kept if the response allows it, and else closed."""
        result: Reply | NoReply | None = None
        try:
            connection.settimeout(_left(deadline))
            connection.sendall(request)
            while result is None:
                connection.settimeout(_left(deadline))
                part = connection.recv(CHUNK)
                if not part and not answer.has_begun:
                    raise ConnectionResetError("the connection was closed without a response")
                result = answer.feed(part)
        finally:
            if isinstance(result, Reply) and result.kept and len(self._idle) < KEPT_AT_MOST:
                self._idle.append((time.monotonic(), connection))
            else:
                connection.close()
        return result

    def _kept(self) -> socket.socket | None:
        """Return the most recently used idle connection, and close those that are too old."""
        while True:
            try:
                since, connection = self._idle.pop()
            except IndexError:
                return None
            if time.monotonic() - since < KEPT_FOR:
                return connection
            connection.close()

    def _connect(self, deadline: float) -> socket.socket:
        """Return a connection to the first address that accepts one."""
        server, error = self._server, OSError("the host name has no address")
        context = None if server.context is None else server.context()
        for family, kind, protocol, _, address in socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM
        ):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(min(CONNECT_WITHIN, _left(deadline)))
                connection.connect(address)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if context is None:
                    return connection
                connection.settimeout(_left(deadline))  # for the whole TLS handshake
                return context.wrap_socket(connection, server_hostname=server.host)
            except OSError as problem:
                connection.close()
                error = problem
        raise error


def _close(idle: Iterable[tuple[float, socket.socket]]) -> None:
    for _, connection in idle:
        connection.close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left
