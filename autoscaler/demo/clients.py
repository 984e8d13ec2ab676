"""Simulated users of a Bokeh app: each opens a page and keeps its WebSocket, as a browser does.

The handshake: GET the page, take the token from its `render_items`, open `/ws` with the
subprotocols `bokeh` and that token, wait for ACK, pull the document. A user must keep reading,
because otherwise the server's pings are not answered and the session becomes stale.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httputil import HTTPHeaders
from tornado.websocket import WebSocketClientConnection, websocket_connect

_TOKEN = re.compile(r'"token"\s*:\s*"([^"]+)"')
PAGE_WITHIN = 15.0
# A message of the protocol has three frames; the server reads none before it has sent its ACK.
ACK_FRAMES = ("header", "metadata", "content")
PULL_DOC = ('{"msgid":"1","msgtype":"PULL-DOC-REQ"}', "{}", "{}")


class User:
    """One open page. cut: whether the server ended the session before the user left."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self.cut = False
        self._leaving = False
        self._connection: WebSocketClientConnection | None = None

    async def arrive(self, page: str) -> None:
        """Open the page at this URL. Raises OSError or HTTPError if it cannot be opened."""
        answer = await AsyncHTTPClient().fetch(page, request_timeout=PAGE_WITHIN)
        found = _TOKEN.search(answer.body.decode())
        if found is None:
            raise OSError(f"{page} is not a Bokeh page; it has no session token")
        request = HTTPRequest(
            web_socket_of(answer.effective_url),
            headers=cookies_of(answer.headers),
            request_timeout=PAGE_WITHIN,
        )
        self._connection = await websocket_connect(request, subprotocols=["bokeh", found.group(1)])
        for _ in ACK_FRAMES:
            if await self._connection.read_message() is None:
                raise OSError(f"{page} closed the connection before its acknowledgment")
        for frame in PULL_DOC:
            await self._connection.write_message(frame)

    async def stay(self) -> None:
        """Read until the connection ends."""
        while self._connection is not None:
            if await self._connection.read_message() is None:
                self.cut = not self._leaving
                return

    def leave(self) -> None:
        """Close the page."""
        self._leaving = True
        if self._connection is not None:
            self._connection.close()


def web_socket_of(page: str) -> str:
    """Return where the page at this URL opens its WebSocket."""
    parts = urlsplit(page)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return parts._replace(scheme=scheme, path=f"{parts.path.rstrip('/')}/ws").geturl()


def cookies_of(headers: HTTPHeaders) -> dict[str, str]:
    """Return the headers by which a browser sends back the cookies that it was given.

    Without them a proxy in front sends the WebSocket to another pod than the page.
    """
    cookies = [each.split(";")[0] for each in headers.get_list("Set-Cookie")]
    return {"Cookie": "; ".join(cookies)} if cookies else {}


class ClientPool:
    """Users in a thread with an event loop of its own, so that a busy caller never delays them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="users", daemon=True)
        self._thread.start()
        self._staying: dict[User, Future[None]] = {}
        self.present: list[User] = []
        self.refused = 0
        self.left = 0

    @property
    def cut(self) -> int:
        """The number of sessions that the server ended."""
        return sum(user.cut for user in self._staying)

    def arrive(self, replica: str, page: str) -> bool:
        """Add a user on this replica. Returns False if the page could not be opened."""
        user = User(replica)
        try:
            self._run(user.arrive(page)).result(2 * PAGE_WITHIN)
        except Exception:  # for whatever reason the page did not open, the user was refused
            self.refused += 1
            return False
        self._staying[user] = self._run(user.stay())
        self.present.append(user)
        return True

    def leave(self, user: User) -> None:
        """Let a user close the page."""
        self.present.remove(user)
        self.left += 1
        self._loop.call_soon_threadsafe(user.leave)

    def stop(self) -> None:
        """Let all users close their pages, and stop the thread."""
        for user in list(self.present):
            self.leave(user)
        for staying in self._staying.values():
            staying.result(PAGE_WITHIN)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)


def app_page(port: int, app: str) -> str:
    """Return the address of an app served by `bokeh serve APP.py` on this machine."""
    return f"http://127.0.0.1:{port}/{app}"
