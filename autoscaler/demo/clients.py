"""Simulated users of a Bokeh app: each opens a page and keeps its WebSocket, as a browser does.

The handshake is that of `adapters.bokeh_pages`. A user must keep reading, because otherwise the
server's pings are not answered and the session becomes stale.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClientConnection

from autoscaler.adapters.bokeh_pages import (
    ANSWER_WITHIN,
    PULL_DOC,
    cookies_of,
    open_socket,
    token_in,
)


class User:
    """One open page. cut: whether the server ended the session before the user left."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self.cut = False
        self._leaving = False
        self._connection: WebSocketClientConnection | None = None

    async def arrive(self, page: str) -> None:
        """Open the page at this URL. Raises OSError or HTTPError if it cannot be opened."""
        answer = await AsyncHTTPClient().fetch(page, request_timeout=ANSWER_WITHIN)
        token = token_in(answer.body.decode())
        if token is None:
            raise OSError(f"{page} is not a Bokeh page; it has no session token")
        cookies = cookies_of(answer.headers)
        self._connection = await open_socket(answer.effective_url, token, cookies)
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
        self.failure: Exception | None = None  # why the last one was refused

    @property
    def cut(self) -> int:
        """The number of sessions that the server ended."""
        return sum(user.cut for user in self._staying)

    def arrive(self, replica: str, page: str) -> bool:
        """Add a user on this replica. Returns False if the page could not be opened."""
        user = User(replica)
        try:
            self._run(user.arrive(page)).result(2 * ANSWER_WITHIN)
        except Exception as error:  # whatever it is, the user was refused
            self.refused += 1
            self.failure = error
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
            staying.result(ANSWER_WITHIN)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)


def app_page(port: int, app: str) -> str:
    """Return the address of an app served by `bokeh serve APP.py` on this machine."""
    return f"http://127.0.0.1:{port}/{app}"
