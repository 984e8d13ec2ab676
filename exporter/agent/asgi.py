"""Servers on ASGI: Starlette and FastAPI, Django and Channels, and Bokeh 3.10's own.

The outermost guarded application (uvicorn's, else the framework's) handles each scope and marks it;
the guarded applications inside see the mark and only pass the scope on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from . import admission, handoff, process
from .visits import TOKEN_SECONDS, Visit, current
from .worker import Worker

MARK = "bokeh_exporter"
DENIAL = "websocket.http.response"  # the extension for rejecting a handshake with an HTTP status

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class GuardedApp:
    """An ASGI application that wraps another one."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one scope."""
        await guarded(self._app, scope, receive, send)


async def guarded(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Call an application and watch the visit; without Bokeh's applications, only call it."""
    answers = {"lifespan": _lifespan, "http": _http, "websocket": _websocket}
    answer = answers.get(scope["type"])
    if answer is None or MARK in scope or not process.contexts:
        await app(scope, receive, send)
        return
    scope[MARK] = True
    await answer(app, scope, receive, send)


def serves_here() -> Worker:
    """Return this process's worker, and make it watch the running loop."""
    agent, loop = process.worker(), asyncio.get_running_loop()
    if not agent.watches(loop):
        agent.watch(loop, "asgi", list(process.contexts), whole=True)
    return agent


def visit_of(scope: Scope) -> Visit:
    """Return the visit of a scope."""
    _, port = scope.get("server") or ("", 0)
    websocket = scope["type"] == "websocket"
    return Visit(scope.get("path", "/"), websocket=websocket, asgi=True, port=port or 0)


async def _lifespan(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Watch the loop when the application has started, which is when the server listens."""

    async def tell(message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            serves_here()
        await send(message)

    await app(scope, receive, tell)


async def _http(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    agent, visit = serves_here(), visit_of(scope)
    answer = AppResponse(agent, visit, send)
    began, token = time.monotonic(), current.set(visit)
    agent.arrive(visit)
    try:
        await _call(app, scope, receive, answer)
    finally:
        current.reset(token)
        agent.leave(visit)
        answer.count(time.monotonic() - began)


async def _call(app: App, scope: Scope, receive: Receive, answer: AppResponse) -> None:
    try:
        await app(scope, receive, answer.send)
    except Exception:
        if not answer.is_refusal:
            raise
    if answer.is_refusal:
        await answer.refuse()


class AppResponse:
    """The response to one request, passed from the application to the server."""

    def __init__(self, agent: Worker, visit: Visit, send: Send) -> None:
        self._agent, self._visit, self._send = agent, visit, send
        self._status = 0

    @property
    def is_refusal(self) -> bool:
        """Whether the application was refused a new session and has not responded yet."""
        return self._visit.refused and not self._status

    async def send(self, message: Message) -> None:
        """Pass a message on, unless it is the application's response to a refusal."""
        if self.is_refusal:
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            if self._agent.admission.closed:
                message = {**message, "headers": self._headers(message.get("headers", ()))}
        await self._send(message)

    def _headers(self, given: Any) -> list[tuple[bytes, bytes]]:
        added = self._agent.admission.headers(self._status)
        names = {name.lower().encode() for name, _ in added if name != "Set-Cookie"}
        kept = [(bytes(n), bytes(v)) for n, v in given if bytes(n).lower() not in names]
        return kept + [(name.lower().encode(), value.encode()) for name, value in added]

    async def refuse(self) -> None:
        """Send the 503 response in place of the application's."""
        self._status = admission.STATUS
        length = str(len(admission.BODY)).encode()
        headers = self._headers([(b"content-type", b"text/plain"), (b"content-length", length)])
        start = {"type": "http.response.start", "status": self._status, "headers": headers}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": admission.BODY})

    def count(self, seconds: float) -> None:
        """Count the response, by application and status class."""
        status = f"{(self._status or 500) // 100}xx"
        name = "bokeh_request_duration_seconds"
        self._agent.tally.observe(name, self._visit.app, status, seconds=seconds)


async def _websocket(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    agent, visit = serves_here(), visit_of(scope)
    subprotocols = scope.get("subprotocols") or []
    if agent.admission.closed and subprotocols[:1] == ["bokeh"]:
        visit.admitted = admission.may_connect(agent.admission, subprotocols, TOKEN_SECONDS)
        if not visit.admitted:
            await _deny(agent, scope, receive, send)
            return
    token = current.set(visit)
    agent.arrive(visit)
    try:
        await app(scope, partial(_received, agent, visit, receive), send)
    finally:
        current.reset(token)
        agent.leave(visit)


async def _received(agent: Worker, visit: Visit, receive: Receive) -> Message:
    """Return the client's next message, and end the visit with the last one.

    The application cannot be relied on for that: bokeh-fastapi waits for another message and never
    reports that the connection has ended.
    """
    message = await receive()
    if message["type"] == "websocket.disconnect":
        agent.leave(visit)
    return message


async def _deny(agent: Worker, scope: Scope, receive: Receive, send: Send) -> None:
    """Reject a handshake with status 503 if the server supports that; others send 403."""
    await receive()  # websocket.connect
    if DENIAL not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1013, "reason": "draining"})
        return
    told = [(n.lower().encode(), v.encode()) for n, v in agent.admission.headers(admission.STATUS)]
    headers = [(b"content-type", b"text/plain"), *told]
    await send({"type": f"{DENIAL}.start", "status": admission.STATUS, "headers": headers})
    await send({"type": f"{DENIAL}.body", "body": admission.BODY})


def initialize_core(original: Any, self: Any, loop: Any) -> None:
    """Around BokehServerCore.initialize of Bokeh 3.10: watch its loop."""
    original(self, loop)
    process.worker().watch(loop, "asgi", list(self._applications.values()), whole=False)


async def uvicorn_startup(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """Guard uvicorn's application, which each connection takes from the configuration."""
    self.config.loaded_app = GuardedApp(self.config.loaded_app)
    await original(self, *args, **kwargs)
    if self.started and process.contexts:
        serves_here()
        if getattr(self.config, "workers", 1) > 1:
            handoff.say_why_not("uvicorn's workers accept by themselves; use more pods")


def daphne_listens(original: Any, self: Any, port: Any) -> None:
    """Around daphne's Server.listen_success: watch the loop that serves."""
    original(self, port)
    if process.contexts:
        serves_here()
