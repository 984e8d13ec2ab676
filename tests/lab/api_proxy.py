"""A proxy in front of an API server, which counts requests and does what bad networks do.

It ends the TLS of both sides with the API server's own certificate, so its clients notice nothing.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.lab.control_plane import ControlPlane

REQUEST = re.compile(rb"(GET|POST|PUT|PATCH|DELETE) (\S+) HTTP/1\.1\r\n")
CHUNK = 64 << 10
RETRY_AFTER = 1
BUSY = (
    f"HTTP/1.1 429 Too Many Requests\r\nRetry-After: {RETRY_AFTER}\r\n"
    "Content-Length: 0\r\nConnection: close\r\n\r\n"
).encode()


class Request(NamedTuple):
    """verb: as in a Role, for what has no name in its path: list, watch or another."""

    verb: str
    path: str


class ApiProxy:
    """requests: all that were made. silent: watches are accepted, and then nothing comes of them.

    edit: what becomes of the first line of each request. is_refused: which requests get HTTP 429
    with `Retry-After`, as from a busy API server; refused: those that did.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self.requests: list[Request] = []
        self.silent = False
        self.edit: Callable[[bytes], bytes] = lambda line: line
        self.is_refused: Callable[[Request], bool] = lambda _: False
        self.refused: list[Request] = []
        self._plane = plane
        self._ends: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="API proxy")
        server = yaml.safe_load(plane.admin.read_text())["clusters"][0]["cluster"]["server"]
        self._host, self._port = urlsplit(server).hostname, urlsplit(server).port

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def kubeconfig(self, original: Path) -> Path:
        """Return a kubeconfig with the same rights that goes through the proxy."""
        content = yaml.safe_load(original.read_text())
        port = self._server.sockets[0].getsockname()[1]
        for each in content["clusters"]:
            each["cluster"]["server"] = f"https://{self._host}:{port}"
        path = original.with_name(f"{original.name}.{port}")
        path.write_text(yaml.safe_dump(content))
        path.chmod(0o600)
        return path

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
        await asyncio.gather(*serving)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> asyncio.Server:
        own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        folder = self._plane.certificates
        own.load_cert_chain(folder / "apiserver.crt", folder / "apiserver.key")
        return await asyncio.start_server(self._serve, self._host, 0, ssl=own)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs = ssl.create_default_context(cafile=self._plane.certificates / "apiserver.crt")
        with suppress(OSError, asyncio.IncompleteReadError):
            behind, ahead = await asyncio.open_connection(self._host, self._port, ssl=theirs)
            line = _Line(self, writer)
            self._ends |= {writer, ahead}
            ways = [self._pass(reader, ahead, line.ask), self._pass(behind, writer, line.answer)]
            await asyncio.gather(*ways)
            self._ends -= {writer, ahead}

    async def _pass(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        change: Callable[[bytes], bytes],
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while data := await source.read(CHUNK):
                sink.write(change(data))
                await sink.drain()
        sink.close()


class _Line:
    """One connection of a client."""

    def __init__(self, proxy: ApiProxy, client: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = client
        self._watches = False

    def ask(self, data: bytes) -> bytes:
        """A request on its way to the API server."""
        found = REQUEST.match(data)
        if found is None:
            return data
        first = self._proxy.edit(found[0])
        target = urlsplit(found[2].decode())
        self._watches = parse_qs(target.query).get("watch", [""])[0].lower() == "true"
        verb = _verb(found[1].decode(), target.path, watches=self._watches)
        self._proxy.requests.append(request := Request(verb, target.path))
        if self._proxy.is_refused(request):
            self._proxy.refused.append(request)
            self._client.write(BUSY)
            raise ConnectionResetError  # the body of the request may still be on its way
        return first + data[found.end() :]

    def answer(self, data: bytes) -> bytes:
        """An answer on its way back."""
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
