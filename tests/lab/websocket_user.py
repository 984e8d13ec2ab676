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
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

TOKEN = re.compile(r'"token":"([^"]+)"')
PATIENCE = 20.0


@dataclass
class User:
    """One open page.

    messages: the types of the messages that it has received. texts: their parts that were no such
    headers, such as the document that it asked for. Both since it last asked for something.
    """

    socket: WebSocketClientConnection
    messages: list[str]
    closed: asyncio.Event
    arrived: asyncio.Event
    texts: list[str] = field(default_factory=list)
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
            elif isinstance(frame, str):
                self.texts.append(frame)
            self.arrived.set()

    async def wait_for(self, *wanted: str) -> str:
        """Wait until a message of one of the types has come; that type."""
        await self.wait_until(lambda: not set(wanted).isdisjoint(self.messages), wanted[0])
        return next(message for message in self.messages if message in wanted)

    async def wait_until(self, happened: Callable[[], bool], what: str) -> None:
        """Raises ConnectionError if the connection ends before."""
        while not happened():
            if self.closed.is_set():
                raise ConnectionError(f"closed before {what}: {self.socket.close_code}")
            self.arrived.clear()
            await self.arrived.wait()


class Users:
    """Users of servers on this machine; leaving the context closes every page.

    patience: seconds that a user waits for any one answer. trusted: a file with the certificates
    that they believe, in place of everybody's.
    """

    def __init__(self, patience: float = PATIENCE, trusted: str | None = None) -> None:
        self._patience = patience
        self._trusted = trusted
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

    def _run(self, work: Coroutine[Any, Any, Any], patience: float | None = None) -> Any:
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result(self._patience if patience is None else patience)
        except TimeoutError:
            running.cancel()  # nobody is there any more to close what it might still open
            raise

    def get(
        self,
        url: str,
        source: str | None = None,
        jar: SimpleCookie | None = None,
        **arguments: str,
    ) -> str:
        """The page's HTML. Raises tornado.httpclient.HTTPError.

        jar: the cookies of one browser; the page's own are added to it.
        """
        request = self._request(with_arguments(url, arguments), source, jar)
        return str(self._run(_get(request, SimpleCookie() if jar is None else jar)))

    def join(
        self,
        url: str,
        source: str | None = None,
        jar: SimpleCookie | None = None,
        **arguments: str,
    ) -> User:
        """Open the page at `url` and wait until its document has arrived.

        source: the address of this machine that the user comes from.
        """
        token = token_in(self.get(url, source, jar, **arguments))
        return self.connect(url, token, source=source, jar=jar)

    def connect(
        self,
        url: str,
        token: str,
        origin: str | None = None,
        source: str | None = None,
        jar: SimpleCookie | None = None,
    ) -> User:
        """Open only the WebSocket, with a token from wherever."""
        request = self._request(url.replace("http", "ws", 1) + "/ws", source, jar)
        if origin:
            request.headers["Origin"] = origin
        user: User = self._run(_connect(request, token))
        self._open.append(user)
        return user

    def _request(self, url: str, source: str | None, jar: SimpleCookie | None) -> HTTPRequest:
        pairs = [f"{each.key}={each.coded_value}" for each in (jar or {}).values()]
        headers = {"Cookie": "; ".join(pairs)} if pairs else {}
        return HTTPRequest(
            url,
            headers=headers,
            request_timeout=self._patience,
            network_interface=source,
            ca_certs=self._trusted,
        )

    def try_join(self, url: str) -> User | None:
        """The same while the server may still be starting: None if nobody listens."""
        try:
            return self.join(url)
        except ConnectionRefusedError:
            return None

    def ask(self, user: User, patience: float | None = None) -> float:
        """Send one message and wait for its answer; the seconds that took."""
        seconds: float = self._run(_pull(user), patience)
        return seconds

    def document(self, user: User, patience: float | None = None) -> Any:
        """The session's document, as the server has it now."""
        self.ask(user, patience)
        return self._run(_document(user))

    def change(
        self, user: User, model: str, attribute: str, value: Any, patience: float | None = None
    ) -> None:
        """Do what a widget does that is moved: returns when the server has taken it.

        model: its id in the document.
        """
        self._run(_change(user, model, attribute, value), patience)

    def stays(self, user: User, seconds: float) -> bool:
        """Whether the connection lasts for so long; returns at once when it ends."""
        waiting = asyncio.run_coroutine_threadsafe(user.closed.wait(), self._loop)
        try:
            waiting.result(seconds)
        except TimeoutError:
            waiting.cancel()
            return True
        return False

    def say(self, user: User, kind: str, data: object) -> str:
        """Send a message for `Document.on_message(kind)`; the type of its answer, OK or ERROR."""
        event = {"kind": "MessageSent", "msg_type": kind, "msg_data": data}
        return self.send(user, "PATCH-DOC", {"events": [event]})

    def send(self, user: User, kind: str, content: dict[str, Any]) -> str:
        """Send any message; the type of its answer, OK or ERROR.

        Raises ConnectionError if the server closes the connection instead.
        """
        return str(self._run(_ask(user, kind, content, "OK", "ERROR")))

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


async def _get(request: HTTPRequest, jar: SimpleCookie) -> str:
    # Not the shared client: its connection would stay with the worker that answered first.
    client = AsyncHTTPClient(force_instance=True)
    try:
        answer = await client.fetch(request)
    finally:
        client.close()
    for line in answer.headers.get_list("Set-Cookie"):
        jar.load(line)
    return answer.body.decode()


async def _connect(request: HTTPRequest, token: str) -> User:
    opening = asyncio.ensure_future(websocket_connect(request, subprotocols=["bokeh", token]))
    try:
        socket = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise
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


def _close(opened: asyncio.Future[WebSocketClientConnection]) -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result().close()


async def _pull(user: User) -> float:
    """Ask for the document, as a page does first; the seconds until it came."""
    began = time.perf_counter()
    await _ask(user, "PULL-DOC-REQ", {}, "PULL-DOC-REPLY")
    return time.perf_counter() - began


async def _document(user: User) -> Any:
    """In the reply that has begun to come."""

    def parts() -> list[str]:
        return [text for text in user.texts if text.startswith('{"doc"')]

    await user.wait_until(lambda: bool(parts()), "the document")
    return json.loads(parts()[0])["doc"]


async def _change(user: User, model: str, attribute: str, value: Any) -> None:
    event = {"kind": "ModelChanged", "model": {"id": model}, "attr": attribute, "new": value}
    await _ask(user, "PATCH-DOC", {"events": [event]}, "OK")


async def _ask(user: User, kind: str, content: dict[str, Any], *answers: str) -> str:
    user.messages.clear()
    user.texts.clear()
    for part in ({"msgid": uuid.uuid4().hex, "msgtype": kind}, {}, content):
        await user.socket.write_message(json.dumps(part))
    return await user.wait_for(*answers)


async def _leave(user: User) -> None:
    user.socket.close(1000)
    await asyncio.wait_for(user.closed.wait(), PATIENCE)
