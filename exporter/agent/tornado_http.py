"""Servers on Tornado: requests in flight, WebSockets, and the responses to both while draining.

The hooks are in Tornado's HTTP server, below its applications, so downloads, event streams and all
other handlers besides Bokeh's are seen too.
"""

from __future__ import annotations

from typing import Any

from . import admission, giving, process
from .census import is_library_app
from .visits import TOKEN_SECONDS, Visit, current


class Seen:
    """A message delegate that records the start of a request and passes everything on."""

    def __init__(self, delegate: Any, connection: Any, port: int) -> None:
        self._delegate = delegate
        self._connection = connection
        self._port = port
        self.visit: Visit | None = None

    def headers_received(self, start_line: Any, headers: Any) -> Any:
        """Answer the request, unless another worker should: then its connection leaves."""
        leaving = giving.giving(self._connection, self._port, start_line, headers)
        if leaving is None:
            return self._answer(start_line, headers)
        return self._answer_unless(leaving, start_line, headers)

    async def _answer_unless(self, leaving: Any, start_line: Any, headers: Any) -> None:
        if not await leaving:
            reading = self._answer(start_line, headers)
            if reading is not None:
                await reading

    def _answer(self, start_line: Any, headers: Any) -> Any:
        """Begin a visit, unless it is a WebSocket, whose visit begins with its handler."""
        agent = process.known()
        if agent is not None and headers.get("Upgrade", "").lower() != "websocket":
            self.visit = Visit(start_line.path, port=self._port)
            current.set(self.visit)
            agent.arrive(self.visit)
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        """Pass on a part of the body."""
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        """Pass on the end of the request, after which the response begins."""
        self._delegate.finish()

    def on_connection_close(self) -> None:
        """Pass on that the client has disconnected."""
        self._delegate.on_connection_close()

    def end(self) -> None:
        """End the visit, when the response is written completely or the client is gone."""
        agent = process.known()
        if self.visit is not None:
            current.set(None)
            if agent is not None:
                agent.leave(self.visit)


async def read_response(original: Any, self: Any, delegate: Any) -> Any:
    """Wrap HTTP1Connection.read_response, which lasts from a request to the end of its response."""
    if self.is_client:
        return await original(self, delegate)
    seen = Seen(delegate, self, port_of(self.stream))
    try:
        return await original(self, seen)
    finally:
        seen.end()


def port_of(stream: Any) -> int:
    """Return the local TCP port of a connection, or 0 if it has none."""
    try:
        name = stream.socket.getsockname()
    except (AttributeError, OSError):
        return 0
    return int(name[1]) if isinstance(name, tuple) else 0


def write_headers(
    original: Any, self: Any, start_line: Any, headers: Any, *more: Any, **kw: Any
) -> Any:
    """Wrap HTTP1Connection.write_headers: while draining, no connection is kept alive."""
    agent = None if self.is_client else process.known()
    if agent is not None and agent.admission.closed and start_line.code != 101:
        self._disconnect_on_finish = True
        for name, value in agent.admission.headers(start_line.code):
            if name == "Set-Cookie":
                headers.add(name, value)
            else:
                headers[name] = value
    return original(self, start_line, headers, *more, **kw)


async def websocket(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """Wrap WebSocketHandler.get, which lasts as long as the WebSocket."""
    agent = process.known()
    if agent is None:
        await original(self, *args, **kwargs)
        return
    if is_bokeh(self) and is_library_app(self.application_context):
        await original(self, *args, **kwargs)
        return
    port = port_of(getattr(self.request.connection, "stream", None))
    visit = Visit(self.request.path, websocket=True, port=port)
    if is_bokeh(self) and not admitted(agent.admission, self, visit):
        self.set_status(admission.STATUS, admission.REASON)
        self.finish(admission.BODY)
        return
    token = current.set(visit)
    agent.arrive(visit)
    try:
        await original(self, *args, **kwargs)
    finally:
        agent.leave(visit)
        current.reset(token)


def is_bokeh(handler: Any) -> bool:
    """Return whether this is the WebSocket of a Bokeh page."""
    return hasattr(handler, "latest_pong") and hasattr(handler, "application_context")


def admitted(gate: admission.Admission, handler: Any, visit: Visit) -> bool:
    """Return whether a WebSocket may open; Bokeh itself rejects one with an invalid token."""
    if not gate.closed:
        return True
    subprotocols = handler.request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    lifetime = getattr(handler.application, "session_token_expiration", TOKEN_SECONDS)
    visit.admitted = admission.may_connect(gate, subprotocols, lifetime)
    return visit.admitted
