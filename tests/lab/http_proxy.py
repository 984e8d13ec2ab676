"""A proxy in front of a server, which counts requests and does what bad networks and servers do.

It passes bytes on as they come, with or without TLS on both sides, so its clients notice nothing
until a test asks for a fault. Hooks are called in the proxy's own thread.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from tests.lab.processes import free_ports

REQUEST = re.compile(rb"(GET|POST|PUT|PATCH|DELETE) (\S+) HTTP/1\.1\r\n")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNK = 64 << 10
WRITES = ("post", "put", "patch", "delete")


class Request(NamedTuple):
    """verb: as in a Role, for what has no name in its path: list, watch or another.

    target: the path with its parameters. body: what came with the head, or after it.
    """

    verb: str
    path: str
    target: str = ""
    body: bytes = b""


class Certificates(NamedTuple):
    """own: for those that connect to the proxy. theirs: for the server behind it."""

    own: ssl.SSLContext
    theirs: ssl.SSLContext


def reply(status: int, body: bytes, kind: str = "application/json", *headers: str) -> bytes:
    """Return a whole answer, after which the connection is closed."""
    lines = [f"HTTP/1.1 {status} Told", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "Connection: close", "", ""]).encode() + body


class HttpProxy:
    """requests: all that were made. silent: watches are accepted, and then nothing comes of them.

    hung: nothing is passed on in either direction. delay: seconds before each answer is passed on.
    edit: what becomes of the first line of each request. reply: an answer in place of the server's.
    passes: asked once the server has answered a request; if not, the connection is reset.
    """

    def __init__(self, host: str, port: int, certificates: Certificates | None = None) -> None:
        self.requests: list[Request] = []
        self.host = host
        (self.port,) = free_ports(1)
        self._behind = port
        self._certificates = certificates
        self._ends: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="HTTP proxy")
        self.behave()

    def behave(self) -> None:
        """End all faults but `down`."""
        self.silent = self.hung = False
        self.delay = 0.0
        self.edit: Callable[[bytes], bytes] = lambda line: line
        self.reply: Callable[[Request], bytes | None] = lambda _: None
        self.passes: Callable[[Request], bool] = lambda _: True

    def __enter__(self) -> Self:
        self._thread.start()
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def up(self) -> None:
        """Listen, on the same port as before."""
        self._server = self._run(self._listen())

    def down(self) -> None:
        """Refuse connections, and reset those that are open, until `up`."""
        self._loop.call_soon_threadsafe(self._server.close)
        self.cut()

    def count(self, verb: str) -> int:
        return sum(each.verb == verb for each in self.requests)

    def cut(self) -> None:
        """Reset every connection."""
        self._run(self._cut())

    async def _cut(self) -> None:
        for end in list(self._ends):
            end.transport.abort()

    async def _close(self) -> None:
        self._server.close()
        await self._cut()
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> asyncio.Server:
        own = self._certificates and self._certificates.own
        return await asyncio.start_server(self._serve, self.host, self.port, ssl=own)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs = self._certificates and self._certificates.theirs
        ends = {writer}
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            behind, ahead = await asyncio.open_connection(self.host, self._behind, ssl=theirs)
            ends.add(ahead)
            self._ends |= ends
            line = _Line(self, reader, writer, behind, ahead)
            await asyncio.gather(line.ask(), line.answer())
        for end in ends:
            end.transport.abort()
        self._ends -= ends


class _Line:
    """One connection of a client: its reader and writer, and those of the server behind."""

    def __init__(
        self,
        proxy: HttpProxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        behind: asyncio.StreamReader,
        ahead: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self._behind, self._ahead = behind, ahead
        self._request: Request | None = None
        self._watches = False

    async def ask(self) -> None:
        """Pass requests on to the server."""
        while data := await self._reader.read(CHUNK):
            found = REQUEST.match(data)
            if found is not None:
                data = await self._rest(data)
                self._request = self._told(found, data)
                if (content := self._proxy.reply(self._request)) is not None:
                    self._writer.write(content)
                    await self._writer.drain()
                    break
                data = self._proxy.edit(found[0]) + data[found.end() :]
            if not self._proxy.hung:
                self._ahead.write(data)
                await self._ahead.drain()
        self._ahead.close()

    async def _rest(self, data: bytes) -> bytes:
        """Return the whole request, of which something has come."""
        while b"\r\n\r\n" not in data:
            data += await self._reader.read(CHUNK)
        head, _, body = data.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        left = int(length[1]) - len(body) if length else 0
        return data + (await self._reader.readexactly(left) if left > 0 else b"")

    def _told(self, found: re.Match[bytes], data: bytes) -> Request:
        target = found[2].decode()
        path = urlsplit(target)
        self._watches = parse_qs(path.query).get("watch", [""])[0].lower() == "true"
        verb = _verb(found[1].decode(), path.path, watches=self._watches)
        request = Request(verb, path.path, target, data.partition(b"\r\n\r\n")[2])
        self._proxy.requests.append(request)
        return request

    async def answer(self) -> None:
        """Pass answers on to the client."""
        while data := await self._behind.read(CHUNK):
            if self._proxy.delay:
                await asyncio.sleep(self._proxy.delay)
            asked, self._request = self._request, None
            if asked is not None and not self._proxy.passes(asked):
                self._writer.transport.abort()
                self._ahead.transport.abort()
                return
            if not self._proxy.hung:
                self._writer.write(self._heard(data))
                await self._writer.drain()
        self._writer.close()

    def _heard(self, data: bytes) -> bytes:
        if not (self._watches and self._proxy.silent):
            return data
        head, end, _ = data.partition(b"\r\n\r\n")
        return head + end if head.startswith(b"HTTP/1.1 ") else b""


def _verb(method: str, path: str, *, watches: bool) -> str:
    """A path of /api/v1/pods or /apis/apps/v1/namespaces/bokeh/deployments lists."""
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    is_list = len(rest) in (1, 3) and method == "GET"
    return "watch" if watches else "list" if is_list else method.lower()
