"""Parsing of HTTP responses, with limits on their size. Pure: no sockets here.

A pod, or whatever answers in place of Prometheus, may send endless headers and bodies, data
compressed or nested so that a kilobyte becomes a gigabyte, or invalid numbers. Everything but a
complete and plain response is a `NoReply`. The caller, who reads the socket, limits the time.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import h11
from pydantic_core import from_json

# Bytes to receive at a time.
CHUNK = 16 << 10
# Bytes of all headers; Prometheus sends 200, and a proxy's cookies are a few thousand.
LARGEST_HEAD = 16 << 10
# The framing may add this fraction (1/16) of the body; with chunks of 2 KiB it adds 1/300.
_FRAMING = 16
# Above this size, a body that consists mostly of brackets and commas is rejected.
_LARGE = 1 << 20
# Fewest bytes per bracket or comma. Prometheus' rows have 7; a body of `[],` takes 25 times its
# size in memory.
_DENSEST = 5


_INCOMPLETE = "did not give a complete HTTP response"


class Reply(NamedTuple):
    """A complete HTTP response.

    headers: by names in lower case. kept: whether the connection can be reused.
    """

    status: int
    body: bytes | bytearray
    reason: str = ""
    headers: Mapping[str, str] = {}
    kept: bool = False


class NoReply(NamedTuple):
    """Why there is no complete response, worded to follow the address: `refused the connection`."""

    reason: str


class HttpExchange:
    """Builds the bytes of one request, and parses the response.

    largest: size limit of the uncompressed body in bytes. packed: whether to accept gzip.
    """

    def __init__(self, largest: int, *, packed: bool = False) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)
        self._largest = largest
        self._packed = packed
        self._came = self._received = 0
        self._head: h11.Response | None = None
        self._body = bytearray()
        self._unpack: Any = None

    @property
    def has_begun(self) -> bool:
        """Whether any bytes of the response were received."""
        return self._came > 0

    def request(
        self, target: str, host: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> bytes:
        """Return the bytes of a GET request, or of a POST request with a body of JSON.

        Raises ValueError if target or headers are invalid.
        """
        coding = "gzip" if self._packed else "identity"
        own = {name.title(): value for name, value in headers.items()}
        lines = {"Host": host, **own, "Accept": "*/*", "Accept-Encoding": coding}
        if body is not None:
            lines |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        method = "GET" if body is None else "POST"
        try:
            events = (
                h11.Request(method=method, target=target, headers=list(lines.items())),
                h11.Data(data=body or b""),
                h11.EndOfMessage(),
            )
            return b"".join(self._http.send(event) or b"" for event in events)
        except h11.LocalProtocolError as error:
            raise ValueError(str(error)) from None

    def feed(self, data: bytes) -> Reply | NoReply | None:
        """Parse received bytes (b"" at the end of the connection).

        Returns None until the response is complete.
        """
        if self._came - self._received > LARGEST_HEAD + CHUNK + self._largest // _FRAMING:
            return NoReply("answered with too many headers or chunk headers")
        self._came += len(data)
        try:
            self._http.receive_data(data)
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    return None
                if (result := self._take(event)) is not None:
                    return result
        except (h11.RemoteProtocolError, zlib.error):
            return NoReply(_INCOMPLETE)

    def _take(self, event: Any) -> Reply | NoReply | None:
        if isinstance(event, h11.Response):
            self._head = event
            return self._begin_body(_header(event, b"content-encoding"))
        if isinstance(event, h11.Data):
            return self._take_part(event.data)
        if isinstance(event, h11.EndOfMessage):
            return self._whole()
        if isinstance(event, h11.InformationalResponse):
            return None
        return NoReply(_INCOMPLETE)

    def _begin_body(self, coding: str) -> NoReply | None:
        if coding in ("", "identity"):
            return None
        if not self._packed or coding != "gzip":
            return NoReply(f"answered in the encoding {coding[:40]!r}, which was not requested")
        self._unpack = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        return None

    def _take_part(self, part: bytes) -> NoReply | None:
        self._received += len(part)
        if self._unpack is None:
            self._body += part
        while self._unpack is not None and part and len(self._body) <= self._largest:
            self._body += self._unpack.decompress(part, CHUNK)
            part = self._unpack.unconsumed_tail
        if max(self._received, len(self._body)) > self._largest:
            return self._too_large()
        return None

    def _whole(self) -> Reply | NoReply:
        head, http = self._head, self._http
        if head is None or (self._unpack is not None and not self._unpack.eof):
            return NoReply(_INCOMPLETE)
        kept = http.our_state is http.their_state is h11.DONE and not http.trailing_data[0]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        reason = head.reason.decode("latin-1")
        return Reply(head.status_code, self._body, reason, headers, kept)

    def _too_large(self) -> NoReply:
        shown = (
            f"{self._largest >> 20} MiB" if self._largest >> 20 else f"{self._largest >> 10} KiB"
        )
        return NoReply(f"answered with more than {shown}")


def _header(head: h11.Response, name: bytes) -> str:
    values = [value.decode("latin-1").strip().lower() for key, value in head.headers if key == name]
    return ", ".join(values)


def json_of(body: bytes | bytearray) -> Any:
    """Return the JSON in a body. Raises ValueError if it is invalid or would take much memory.

    The nesting is limited to 200 levels, which `json.loads` does not do; NaN and Infinity are
    rejected.
    """
    if len(body) > _LARGE and _DENSEST * sum(map(body.count, (b"[", b"{", b","))) > len(body):
        raise ValueError("the body consists mostly of brackets and commas")
    return from_json(body, allow_inf_nan=False, cache_strings="all")
