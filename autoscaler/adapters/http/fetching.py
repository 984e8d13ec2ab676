"""Fetch a small page from many hosts concurrently, each with one deadline for the whole response.

The timeout of an HTTP client applies to each `recv`, so a server that sends a byte per second can
delay it forever. Here one thread reads from all sockets, and ends each exchange at its deadline.
"""

from __future__ import annotations

import errno
import os
import random
import selectors
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from math import inf
from typing import NamedTuple, cast

from autoscaler.adapters.http.answers import CHUNK, HttpExchange, NoReply, Reply

# Sockets that are open at the same time; a process can often open only 1,024 files.
AT_ONCE = 64
CLOSE = {"Connection": "close"}
_CONNECTING = {0, errno.EINPROGRESS, errno.EWOULDBLOCK}


class Page(NamedTuple):
    """The address of a page. address: an IP address, because no name is looked up."""

    address: str
    port: int
    path: str

    @property
    def host(self) -> str:
        """The value of the Host header."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self[0]}:{self[1]}"

    @property
    def url(self) -> str:
        """The URL of the page."""
        return f"http://{self.host}{self.path}"


def fetch_all(
    pages: Sequence[Page],
    *,
    within: float,
    largest: int,
    at_once: int = AT_ONCE,
    in_all: float = inf,
    headers: Mapping[str, str] = {},
    body: bytes | None = None,
) -> list[Reply | NoReply | None]:
    """Fetch all pages concurrently, and return the responses in the order of the pages.

    A result is None if its page was not requested. within: seconds for each exchange, including
    connecting. largest: size limit of a body in bytes. in_all: seconds after which no further page
    is requested. headers: of each request, in addition to the usual ones. body: JSON to post. Never
    raises.
    """
    replies: dict[int, Reply | NoReply] = {}
    begun = time.monotonic()
    waiting = deque(random.sample(list(enumerate(pages)), len(pages)))  # none is always the last
    with selectors.DefaultSelector() as selector:
        open_ones: set[_PageFetch] = set()
        while waiting or open_ones:
            if time.monotonic() - begun > in_all:
                waiting.clear()
            while waiting and len(open_ones) < at_once:
                number, page = waiting.popleft()
                exchange = _PageFetch(number, page, within, largest, {**CLOSE, **headers}, body)
                open_ones.add(exchange)
                exchange.begin(selector)
            soonest = min((e.deadline for e in open_ones if e.result is None), default=0.0)
            for key, _ in selector.select(max(0.0, soonest - time.monotonic())):
                cast(_PageFetch, key.data).proceed(selector)
            now = time.monotonic()
            for exchange in [e for e in open_ones if e.is_over(now)]:
                exchange.close(selector)
                open_ones.discard(exchange)
                replies[exchange.number] = exchange.outcome()
    return [replies.get(number) for number in range(len(pages))]


class _PageFetch:
    """One request on one socket: connect, send, and receive until the response is complete."""

    def __init__(
        self,
        number: int,
        page: Page,
        within: float,
        largest: int,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> None:
        self.number = number
        self.deadline = time.monotonic() + within
        self.result: Reply | NoReply | None = None
        self._page = page
        self._within = within
        self._headers = headers
        self._body = body
        self._answer = HttpExchange(largest)
        self._socket: socket.socket | None = None
        self._request = b""
        self._connected = False

    def begin(self, selector: selectors.BaseSelector) -> None:
        try:
            self._request = self._answer.request(
                self._page.path, self._page.host, self._headers, self._body
            )
            version = ip_address(self._page.address).version  # rejects names, whose lookup blocks
            family = socket.AF_INET6 if version == 6 else socket.AF_INET
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            self._socket.setblocking(False)
            code = self._socket.connect_ex((self._page.address, self._page.port))
            if code not in _CONNECTING:
                raise OSError(code, os.strerror(code))
            selector.register(self._socket, selectors.EVENT_WRITE, self)
        except (OSError, ValueError) as error:
            self.result = _failure(error)

    def proceed(self, selector: selectors.BaseSelector) -> None:
        """Send or receive, when the socket is ready."""
        if self._socket is None:
            return
        try:
            if self._request:
                self._send(self._socket, selector)
            else:
                self._receive(self._socket)
        except BlockingIOError:
            return
        except OSError as error:
            self.result = _failure(error)

    def _send(self, connection: socket.socket, selector: selectors.BaseSelector) -> None:
        if code := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))
        self._connected = True
        self._request = self._request[connection.send(self._request) :]
        if not self._request:
            selector.modify(connection, selectors.EVENT_READ, self)

    def _receive(self, connection: socket.socket) -> None:
        self.result = self._answer.feed(connection.recv(CHUNK))

    def is_over(self, now: float) -> bool:
        return self.result is not None or now >= self.deadline

    def outcome(self) -> Reply | NoReply:
        if self.result is not None:
            return self.result
        if not self._connected:
            return NoReply(f"did not accept a connection within {self._within:g} s")
        return NoReply(f"did not give a complete response within {self._within:g} s")

    def close(self, selector: selectors.BaseSelector) -> None:
        if self._socket is None:
            return
        if self._socket in selector.get_map():
            selector.unregister(self._socket)
        self._socket.close()


def _failure(error: Exception) -> NoReply:
    if isinstance(error, ConnectionRefusedError):
        return NoReply("refused the connection")
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return NoReply("broke the connection")
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return NoReply(f"cannot be reached: {words}")
