"""Real users of a real Bokeh server: GET the page, open its WebSocket, pull the document, stay.

Each user is a Tornado WebSocket in one background event loop that reads on for as long as it is
there: a client that stops reading answers no pings and would look frozen to the server.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

TOKEN = re.compile(r'"token":"([^"]+)"')
PATIENCE = 20.0


@dataclass
class User:
    """One open page. `messages` are the types of the messages it has received."""

    socket: WebSocketClientConnection
    messages: list[str]
    closed: asyncio.Event
    arrived: asyncio.Event
    reader: asyncio.Task[None] | None = None  # kept, or it could be collected

    async def read(self) -> None:
        """Read until the server or the user ends the connection."""
        while True:
            frame = await self.socket.read_message()
            if frame is None:
                self.closed.set()
                self.arrived.set()
                return
            if isinstance(frame, str) and '"msgtype"' in frame:
                self.messages.append(json.loads(frame)["msgtype"])
                self.arrived.set()

    async def wait_for(self, message: str) -> None:
        while message not in self.messages:
            if self.closed.is_set():
                raise ConnectionError(f"closed before {message}: {self.socket.close_code}")
            self.arrived.clear()
            await self.arrived.wait()


class Users:
    """Users of servers on this machine; leaving the context closes every page."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: list[User] = []

    def __enter__(self) -> Users:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for user in list(self._open):
            self.leave(user)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def get(self, url: str, **arguments: str) -> str:
        """The page's HTML. Raises tornado.httpclient.HTTPError."""
        return str(self._run(_get(with_arguments(url, arguments))))

    def join(self, url: str, **arguments: str) -> User:
        """Open the page at `url` and wait until its document has arrived."""
        return self.connect(url, token_in(self.get(url, **arguments)))

    def connect(self, url: str, token: str, origin: str | None = None) -> User:
        """Open only the WebSocket, with a token from wherever."""
        user: User = self._run(_connect(url, token, origin))
        self._open.append(user)
        return user

    def try_join(self, url: str) -> User | None:
        """The same while the server may still be starting: None if nobody listens."""
        try:
            return self.join(url)
        except ConnectionRefusedError:
            return None

    def ask(self, user: User) -> float:
        """Send one message and wait for its answer; the seconds that took."""
        seconds: float = self._run(_pull(user))
        return seconds

    def leave(self, user: User) -> None:
        """Close the page as a browser does when its tab is closed."""
        self._open.remove(user)
        self._run(_leave(user))

    def is_connected(self, user: User) -> bool:
        return not user.closed.is_set()


def token_in(page: str) -> str:
    found = TOKEN.search(page)
    if found is None:
        raise ValueError(f"no Bokeh token in the page: {page[:200]!r}")
    return found.group(1)


def with_arguments(url: str, arguments: dict[str, str]) -> str:
    return f"{url}?{urlencode(arguments)}" if arguments else url


async def _get(url: str) -> str:
    # Not the shared client: its connection would stay with the worker that answered first.
    client = AsyncHTTPClient(force_instance=True)
    try:
        return (await client.fetch(url, request_timeout=PATIENCE)).body.decode()
    finally:
        client.close()


async def _connect(url: str, token: str, origin: str | None) -> User:
    address = url.replace("http", "ws", 1) + "/ws"
    request = HTTPRequest(address, headers={"Origin": origin} if origin else {})
    socket = await websocket_connect(request, subprotocols=["bokeh", token])
    if socket.protocol is not None:  # as browsers do; else a message waits 40 ms for the first ACK
        socket.protocol.set_nodelay(True)
    user = User(socket, [], asyncio.Event(), asyncio.Event())
    user.reader = asyncio.create_task(user.read())
    try:
        await user.wait_for("ACK")
        await _pull(user)
    except BaseException:
        socket.close()
        raise
    return user


async def _pull(user: User) -> float:
    """Ask for the document, as a page does first; the seconds until it came."""
    user.messages.clear()
    began = time.perf_counter()
    header = {"msgid": uuid.uuid4().hex, "msgtype": "PULL-DOC-REQ"}
    for part in (header, {}, {}):
        await user.socket.write_message(json.dumps(part))
    await user.wait_for("PULL-DOC-REPLY")
    return time.perf_counter() - began


async def _leave(user: User) -> None:
    user.socket.close(1000)
    await asyncio.wait_for(user.closed.wait(), PATIENCE)
