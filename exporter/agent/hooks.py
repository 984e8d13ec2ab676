"""Where the agent enters Bokeh: one wrapper per event, the same for Bokeh 3.9 and 3.10.

`BokehTornado.initialize` runs in every worker after its fork, whichever way the server was started;
3.10's `BokehServerCore.initialize` is its counterpart under ASGI.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from . import answer
from .census import Mark, mark_of
from .worker import Worker

_table: list[ModuleType] = []  # exporter.metrics, handed over by the bootstrap
_worker: list[Worker] = []  # at most one per process
_wrapped: set[tuple[type, str]] = set()


def declare(table: ModuleType) -> None:
    """Hand over the metric table; the agent cannot import it by name."""
    _table[:] = [table]


def install(module_name: str, module: ModuleType) -> None:
    """Wrap what this freshly imported Bokeh module offers."""
    from bokeh.server.contexts import ApplicationContext
    from bokeh.server.protocol_handler import ProtocolHandler
    from bokeh.server.session import ServerSession

    # 3.10 creates in `_create_session`, in a task of its own; 3.9 in the public method.
    create = "_create_session" if hasattr(ApplicationContext, "_create_session") else None
    wrap(ApplicationContext, create or "create_session_if_needed", _create_session)
    wrap(ServerSession, "subscribe", _subscribe)
    wrap(ServerSession, "destroy", _destroy)
    wrap(ProtocolHandler, "handle", _handle)
    tornado = module_name == "bokeh.server.tornado"
    server = module.BokehTornado if tornado else module.BokehServerCore
    wrap(server, "initialize", _initialize_tornado if tornado else _initialize_core)
    wrap(server, "new_connection", _new_connection)
    wrap(server, "client_lost", _client_lost)
    if tornado:
        wrap(server, "log_request", _log_request)
        wrap(module.WSHandler, "open", _open)
        wrap(module.WSHandler, "check_origin", _check_origin)


def wrap(owner: type, name: str, around: Callable[..., Any]) -> None:
    """Replace a method by `around(original, self, ...)`, once."""
    if (owner, name) in _wrapped:
        return
    original = getattr(owner, name)

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return around(original, self, *args, **kwargs)

    setattr(owner, name, method)
    _wrapped.add((owner, name))


def worker() -> Worker:
    """This process's worker; the first call starts answering the collector."""
    if not _worker:
        _worker.append(Worker(_table[0]))
        answer.start(_slot(), _worker[0].report, _worker[0].sample)
    return _worker[0]


def _slot() -> int:
    """Tornado's task id, stable over restarts of a worker; 0 for a server that does not fork."""
    process = sys.modules.get("tornado.process")
    task_id = process.task_id() if process is not None else None
    return task_id or 0


def _initialize_tornado(original: Any, self: Any, io_loop: Any) -> None:
    original(self, io_loop)
    worker().serve(self, io_loop, "tornado")


def _initialize_core(original: Any, self: Any, loop: Any) -> None:
    original(self, loop)
    worker().serve(self, loop, "asgi")


async def _create_session(original: Any, self: Any, session_id: Any, *args: Any, **kw: Any) -> Any:
    """Times a creation and counts it. Only the caller that really creates is looked at."""
    known = session_id in self._sessions or session_id in self._pending_sessions
    if known and original.__name__ == "create_session_if_needed":
        return await original(self, session_id, *args, **kw)
    agent, app, began = worker(), self.url, time.monotonic()
    agent.creation(app, +1)
    try:
        session = await original(self, session_id, *args, **kw)
    except Exception as error:
        if type(error).__name__ != "ProtocolError":  # the client's fault, not the application's
            agent.tally.add("bokeh_session_create_errors_total", app)
        raise
    finally:
        agent.creation(app, -1)
    session._bokeh_exporter_mark = Mark(app, began)
    agent.tally.add("bokeh_sessions_created_total", app)
    agent.tally.add("bokeh_session_create_errors_total", app, amount=_script_failed(self))
    agent.tally.observe(
        "bokeh_session_create_duration_seconds", app, seconds=time.monotonic() - began
    )
    return session


def _script_failed(context: Any) -> int:
    """1 if the application's script raised, which Bokeh logs and answers with an empty page.

    Handlers of functions are left out: theirs raise, or stay `failed` for ever after one failure.
    """
    handlers = context.application.handlers
    scripts = (h for h in handlers if hasattr(h, "_runner") or hasattr(h, "_main_handler"))
    return int(any(handler.failed for handler in scripts))


def _subscribe(original: Any, self: Any, connection: Any) -> None:
    original(self, connection)
    mark = mark_of(self)
    if mark is not None:
        mark.connected = True


def _destroy(original: Any, self: Any) -> None:
    mark, left = mark_of(self), self._last_unsubscribe_time / 1000  # ms of the monotonic clock
    original(self)
    if mark is None:
        return
    tally = worker().tally
    tally.add("bokeh_sessions_destroyed_total", mark.app)
    if mark.connected:
        tally.observe("bokeh_session_duration_seconds", mark.app, seconds=left - mark.created)
    else:
        tally.add("bokeh_sessions_orphaned_total", mark.app)


async def _handle(original: Any, self: Any, message: Any, connection: Any) -> Any:
    """Runs per message: 2 us beside the millisecond that Bokeh takes for the smallest."""
    agent, app, began = worker(), connection.application_context.url, time.monotonic()
    agent.active(app)
    reply = await original(self, message, connection)
    agent.tally.observe("bokeh_message_duration_seconds", app, seconds=time.monotonic() - began)
    if getattr(reply, "msgtype", "") == "ERROR":  # Bokeh logs what a callback raised, and goes on
        agent.tally.add("bokeh_message_errors_total", app)
    return reply


def _new_connection(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    connection = original(self, *args, **kwargs)
    app = connection.application_context.url
    worker().tally.add("bokeh_connections_opened_total", app)
    worker().active(app)
    return connection


def _client_lost(original: Any, self: Any, connection: Any) -> None:
    """Bokeh may report one loss twice: when a ping fails and when the socket closes."""
    if connection in self._clients:
        # None is a connection that just broke, RFC 6455's 1006; under ASGI the code is not kept.
        code = getattr(connection._socket, "close_code", "other") or 1006
        worker().disconnected(connection.application_context.url, str(code))
    original(self, connection)


def _log_request(original: Any, self: Any, handler: Any) -> None:
    """Every HTTP answer. A WebSocket refused for want of a login never gets to its `open`."""
    original(self, handler)
    context = getattr(handler, "application_context", None)
    tally, status = worker().tally, handler.get_status()
    tally.observe(
        "bokeh_request_duration_seconds",
        context.url if context is not None else "",
        f"{status // 100}xx",
        seconds=handler.request.request_time(),
    )
    is_websocket = hasattr(handler, "latest_pong")
    if is_websocket and status in (401, 403) and not hasattr(handler, "_bokeh_exporter_refused"):
        tally.add("bokeh_connections_rejected_total", "auth")


def _check_origin(original: Any, self: Any, origin: str) -> Any:
    allowed = original(self, origin)
    if not allowed:
        self._bokeh_exporter_refused = True
        worker().tally.add("bokeh_connections_rejected_total", "origin")
    return allowed


def _open(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        return original(self, *args, **kwargs)
    except Exception as error:
        reason = "protocol" if self.current_user else "auth"
        for words, known in (("expired", "token_expired"), ("signature", "bad_signature")):
            reason = known if words in str(error) else reason
        worker().tally.add("bokeh_connections_rejected_total", reason)
        raise
