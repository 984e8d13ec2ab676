"""One client of the web server, from the start of its connection to its end. h11 parses HTTP."""

from __future__ import annotations

import enum
import selectors
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from typing import NamedTuple

import h11

PLAIN = "text/plain; charset=utf-8"
CHUNK_BYTES = 16 << 10
FAREWELL_SECONDS = 1.0  # before closing: a reset could discard the response in transit


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a server and of each of its clients.

    request_seconds: from the first byte of a request (or from the start of the connection, for its
    first request) until the response has been read. idle_seconds: between two requests; Prometheus
    keeps its connection between scrapes, which are at most 60 s apart. unsent_bytes: of all
    responses together. posts: the paths to which a body of at most body_bytes may be sent.
    """

    connections: int = 64
    head_bytes: int = 16 << 10
    body_bytes: int = 4 << 10
    posts: frozenset[str] = frozenset()
    request_seconds: float = 10.0
    idle_seconds: float = 120.0
    unsent_bytes: int = 8 << 20


class Request(NamedTuple):
    """A GET, HEAD or POST request; `path` has no query, and header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    method: str = "GET"
    body: bytes = b""

    @property
    def body_bytes(self) -> int:
        """The announced length of the body; h11 has checked that it is a number."""
        return int(self.headers.get("content-length", "0"))


class Response(NamedTuple):
    """A complete HTTP response; its body is left out for a HEAD request."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Phase(enum.Enum):
    """The state of a client, and the socket event to wait for in it."""

    READING = selectors.EVENT_READ, "its next request is being read"
    WAITING = 0, "its response is being made"
    WRITING = selectors.EVENT_WRITE, "its response is being sent"
    LEAVING = selectors.EVENT_READ, "further bytes are read and discarded"
    OVER = 0, "the connection can be closed"

    @property
    def events(self) -> int:
        """The selector events to wait for."""
        return self.value[0]


class WebClient:
    """Reads one request after another and writes the responses.

    until: deadline of its current phase, after which it is dropped. since: start of that phase.
    Both are of the monotonic clock.
    """

    def __init__(self, accepted: socket.socket, address: str, limits: Limits) -> None:
        self.socket, self.address = accepted, address
        self.phase = Phase.READING
        self.request: Request | None = None
        self._limits = limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self._unsent: list[memoryview] = []
        self._idle = self._is_head = False
        self._coming: Request | None = None
        self.since = time.monotonic()
        self.until = self.since + limits.request_seconds

    @property
    def unsent_bytes(self) -> int:
        """The number of bytes of its response that are not sent yet."""
        return sum(map(len, self._unsent))

    def proceed(self) -> None:
        """Read or write as much as possible. Raises OSError if the client has disconnected."""
        with suppress(BlockingIOError):
            if self.phase is Phase.READING:
                self._read()
            elif self.phase is Phase.WRITING:
                self._write()
            elif not self.socket.recv(CHUNK_BYTES):
                self.phase = Phase.OVER

    def answer(self, response: Response) -> None:
        """Start to send the response to the request that was read."""
        self.request = None
        headers = [
            ("Date", formatdate(usegmt=True)),
            ("Content-Type", response.content_type),
            ("X-Content-Type-Options", "nosniff"),  # or a browser could render text as HTML
            ("Content-Length", str(len(response.body))),
            *response.headers,
        ]
        head = self._http.send(h11.Response(status_code=response.status, headers=headers))
        body = b"" if self._is_head else self._http.send(h11.Data(data=response.body))
        self._http.send(h11.EndOfMessage())
        self._unsent = [memoryview(part) for part in (head, body) if part]
        self.phase = Phase.WRITING

    def _read(self) -> None:
        unread = len(self._http.trailing_data[0])
        chunk = self.socket.recv(min(CHUNK_BYTES, self._limits.head_bytes + 1 - unread))
        if self._idle and chunk:
            self._begin(self._limits.request_seconds)
        self._http.receive_data(chunk)
        self._next_request()

    def _begin(self, seconds: float, *, idle: bool = False) -> None:
        self._idle, self.since = idle, time.monotonic()
        self.until = self.since + seconds

    def _next_request(self) -> None:
        """Take the next request if it is complete."""
        try:
            while self.phase is Phase.READING:
                event = self._http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                self._take(event)
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, str(error))

    def _take(self, event: object) -> None:
        """Take one part of a request."""
        if isinstance(event, h11.ConnectionClosed):
            self.phase = Phase.OVER
        elif isinstance(event, h11.Request):
            self._begin_request(event)
        elif isinstance(event, h11.Data) and self._coming is not None:
            self._coming = self._coming._replace(body=self._coming.body + event.data)
            if len(self._coming.body) > self._limits.body_bytes:
                self._refuse(413, f"a body may have {self._limits.body_bytes} bytes")
        elif isinstance(event, h11.EndOfMessage):
            self.request, self._coming = self._coming, None
            self.phase = Phase.WAITING

    def _begin_request(self, event: h11.Request) -> None:
        """Accept or reject a request by its head."""
        self._is_head = event.method == b"HEAD"
        path = event.target.decode("latin-1").partition("?")[0]
        self._coming = Request(path, _headers(event), event.method.decode("latin-1"))
        if event.method == b"POST" and path in self._limits.posts:
            return
        if event.method not in (b"GET", b"HEAD"):
            self._refuse(405, "only GET and HEAD are allowed", ("Allow", "GET, HEAD"))
        elif "transfer-encoding" in self._coming.headers or self._coming.body_bytes:
            self._refuse(413, "this page accepts no request body")

    def _refuse(self, status: int, why: str, *headers: tuple[str, str]) -> None:
        """Send an error response and close the connection after it."""
        self.answer(
            Response(status, PLAIN, f"{why}\n".encode(), (("Connection", "close"), *headers))
        )

    def _write(self) -> None:
        sent = self.socket.sendmsg(self._unsent)
        while self._unsent and sent >= len(self._unsent[0]):
            sent -= len(self._unsent.pop(0))
        if self._unsent:
            self._unsent[0] = self._unsent[0][sent:]
            return
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self.phase = Phase.READING
            self._begin(self._limits.idle_seconds, idle=True)
            self._next_request()  # it may have arrived together with the previous one
        else:
            self.socket.shutdown(socket.SHUT_WR)
            self.phase = Phase.LEAVING
            self._begin(FAREWELL_SECONDS)


def _headers(event: h11.Request) -> dict[str, str]:
    """Return the headers by name; values of a repeated name are joined with commas."""
    found: dict[str, str] = {}
    for name, value in event.headers:
        key, said = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]}, {said}" if key in found else said
    return found
