"""The agent's hooks in Bokeh and its servers: one wrapper for each event.

Sessions are observed where every server creates them: in `ApplicationContext`, `ServerSession` and
`RenderItem`. The hooks in each server (Tornado or ASGI) add the loop that runs and the requests
in flight.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from . import (
    asgi,
    ending_sessions,
    forked_worker,
    handoff,
    hinting,
    messages,
    process,
    tornado_http,
)
from .admission import REASON, STATUS, Refused
from .census import Mark, is_library_app, mark_of, route_of
from .visits import Visit, ongoing

_wrapped: set[tuple[type, str]] = set()


def declare(table: ModuleType) -> None:
    """Set the metric table, because the agent cannot import it by name."""
    process.declare(table)


def install(module_name: str, module: ModuleType) -> None:
    """Wrap the methods of a module just imported, and of those imported before the agent."""
    for name in HOOKS:
        found = module if name == module_name else sys.modules.get(name)
        spec = getattr(found, "__spec__", None)
        if found is module or (spec is not None and not getattr(spec, "_initializing", False)):
            HOOKS[name](found)


def wrap(owner: type, name: str, around: Callable[..., Any]) -> None:
    """Replace a method by `around(original, self, ...)`, unless that was done before."""
    if (owner, name) in _wrapped:
        return
    original = getattr(owner, name)

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return around(original, self, *args, **kwargs)

    setattr(owner, name, method)
    _wrapped.add((owner, name))


def wrap_application(owner: type) -> None:
    """Guard every call of an ASGI application, whose call must remain a coroutine function."""
    if (owner, "__call__") in _wrapped:
        return
    original: Any = owner.__call__

    @functools.wraps(original)
    async def call(self: Any, scope: Any, receive: Any, send: Any) -> None:
        await asgi.guarded(functools.partial(original, self), scope, receive, send)

    owner.__call__ = call  # type: ignore[method-assign]
    _wrapped.add((owner, "__call__"))


# Bokeh -------------------------------------------------------------------------------------------


def _hook_contexts(module: Any) -> None:
    context = module.ApplicationContext
    wrap(context, "__init__", _new_context)
    wrap(context, "_discard_session", ending_sessions.discard_session)
    _hook_context_class(context)
    if hasattr(context, "_create_session"):  # Bokeh 3.10 creates sessions in a task of their own
        wrap(context, "_create_session", _create_session)


def _hook_context_class(context: type) -> None:
    """Wrap the session creation of each class; bokeh-django overrides Bokeh's."""
    for owner in context.__mro__:
        if "create_session_if_needed" in owner.__dict__:
            wrap(owner, "create_session_if_needed", _create_session_if_needed)


def _hook_sessions(module: Any) -> None:
    wrap(module.ServerSession, "subscribe", _subscribe)
    wrap(module.ServerSession, "unsubscribe", _unsubscribe)
    wrap(module.ServerSession, "destroy", _destroy)
    wrap(module.ServerSession, "_document_patched", messages.document_patched)
    hinting.count_as_blocking(module.ServerSession)


def _new_context(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    original(self, *args, **kwargs)
    process.contexts.add(self)
    _hook_context_class(type(self))


async def _create_session_if_needed(
    original: Any, self: Any, session_id: Any, *args: Any, **kw: Any
) -> Any:
    """Reject a new session while this worker drains, and time its creation in Bokeh 3.9.

    Calls for a session that exists or is being created are passed on unchanged.
    """
    visit = ongoing()
    if visit is not None:
        visit.app, visit.of_library = route_of(self), is_library_app(self)
    known = session_id in self._sessions or session_id in self._pending_sessions
    if known or is_library_app(self):
        return await original(self, session_id, *args, **kw)
    agent = _worker_of(self)
    if agent.admission.closed and not agent.admission.admits(session_id):
        _refuse_unless_admitted(visit)
    if hasattr(self, "_create_session"):
        return await original(self, session_id, *args, **kw)
    return await _create_session(original, self, session_id, *args, **kw)


def _worker_of(context: Any) -> Any:
    """Return this process's worker, and make it count this application.

    It also watches the loop of a server that has no hooks here, of which it sees all sessions but
    no other requests.
    """
    agent = process.worker()
    agent.adopt(context)
    agent.watch(asyncio.get_running_loop(), "asgi", (), whole=False)
    return agent


def _refuse_unless_admitted(visit: Visit | None) -> None:
    """Raise the exception that the server, or the guard around it, turns into a 503 response."""
    if visit is None or not visit.admitted:
        if visit is not None:
            visit.refused = True
        starlette, tornado = sys.modules.get("starlette.exceptions"), sys.modules.get("tornado.web")
        if visit is not None and visit.asgi and starlette is not None:
            raise starlette.HTTPException(STATUS, REASON)
        if tornado is not None:
            raise tornado.HTTPError(STATUS, "this worker drains and takes no new sessions")
        raise Refused


async def _create_session(original: Any, self: Any, session_id: Any, *args: Any, **kw: Any) -> Any:
    """Time and count the creation of a session."""
    if is_library_app(self):
        return await original(self, session_id, *args, **kw)
    agent, app, began = process.worker(), route_of(self), time.monotonic()
    agent.creation(app, +1)
    session = None
    try:
        handoff.creating(app, session_id)
        session = await original(self, session_id, *args, **kw)
    except Exception as error:
        if type(error).__name__ != "ProtocolError":  # that is an error of the client
            agent.tally.add("bokeh_session_create_errors_total", app)
        raise
    finally:
        agent.creation(app, -1)
        handoff.created()
        if session is None:  # it failed, or its request was cancelled
            handoff.gone(app, session_id)
    session._bokeh_exporter_mark = Mark(app, began, loop=asyncio.get_running_loop())
    agent.tally.add("bokeh_sessions_created_total", app)
    agent.tally.add("bokeh_session_create_errors_total", app, amount=_script_failed(self))
    agent.tally.observe(
        "bokeh_session_create_duration_seconds", app, seconds=time.monotonic() - began
    )
    return session


def _script_failed(context: Any) -> int:
    """Return 1 if the application's script raised, else 0.

    Bokeh only logs that, and answers with an empty page. Handlers of functions are left out: they
    raise, or remain `failed` forever after one failure.
    """
    handlers = context.application.handlers
    scripts = (h for h in handlers if hasattr(h, "_runner") or hasattr(h, "_main_handler"))
    return int(any(handler.failed for handler in scripts))


def _subscribe(original: Any, self: Any, connection: Any) -> None:
    original(self, connection)
    if is_library_app(connection._application_context):
        return
    mark, visit = mark_of(self), ongoing()
    if mark is not None and not mark.connected:
        mark.connected = True
        handoff.connected(mark.app, self.id)
        process.worker().tally.add("bokeh_sessions_used_total", mark.app)
    carrier = visit if visit is not None and visit.websocket else None
    process.worker().subscribed(self, connection, carrier)


def _unsubscribe(original: Any, self: Any, connection: Any) -> None:
    original(self, connection)
    process.worker().unsubscribed(connection)


def _destroy(original: Any, self: Any) -> None:
    mark, left = mark_of(self), self._last_unsubscribe_time / 1000  # ms of the monotonic clock
    original(self)
    agent = process.worker()
    agent.destroyed(self)
    if mark is None:
        return
    handoff.gone(mark.app, self.id)
    agent.tally.add("bokeh_sessions_destroyed_total", mark.app)
    if mark.connected:
        agent.tally.observe("bokeh_session_duration_seconds", mark.app, seconds=left - mark.created)
    else:
        agent.tally.add("bokeh_sessions_orphaned_total", mark.app)


def _hook_protocol(module: Any) -> None:
    wrap(module.ProtocolHandler, "handle", messages.handle)


def _hook_pages(module: Any) -> None:
    wrap(module.RenderItem, "__init__", _render_item)


def _render_item(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """Record a page or a script tag that will open a WebSocket with its token.

    The session of the token need not exist: with `--reuse-sessions`, Panel sends the page of one
    session with the token of another.
    """
    original(self, *args, **kwargs)
    visit, agent = ongoing(), process.known()
    if visit is None or visit.of_library or agent is None or not self.token:
        return
    from bokeh.util.token import get_session_id

    session_id = get_session_id(self.token)
    if not agent.admission.admits(session_id):
        _refuse_unless_admitted(visit)
    agent.made_page(visit, session_id)


# Tornado -----------------------------------------------------------------------------------------


def _hook_tornado(module: Any) -> None:
    import tornado.process
    from tornado.http1connection import HTTP1Connection
    from tornado.tcpserver import TCPServer
    from tornado.websocket import WebSocketHandler

    wrap(module.BokehTornado, "initialize", _initialize_tornado)
    wrap(module.BokehTornado, "log_request", _log_request)
    wrap(module.WSHandler, "open", _open)
    wrap(module.WSHandler, "check_origin", _check_origin)
    wrap(HTTP1Connection, "read_response", tornado_http.read_response)
    wrap(HTTP1Connection, "write_headers", tornado_http.write_headers)
    wrap(WebSocketHandler, "get", tornado_http.websocket)
    wrap(TCPServer, "add_sockets", handoff.add_sockets)
    handoff.hook_forks(tornado.process)


def _initialize_tornado(original: Any, self: Any, io_loop: Any) -> None:
    """Watch the loop of a worker. Runs after the fork, however the server was started."""
    original(self, io_loop)
    process.worker().watch(io_loop, "tornado", list(self._applications.values()), whole=True)
    handoff.begin(io_loop)
    forked_worker.end_with_code_0()


def _log_request(original: Any, self: Any, handler: Any) -> None:
    """Count an HTTP response, and a WebSocket without a login, which never reaches `open`."""
    original(self, handler)
    context = getattr(handler, "application_context", None)
    tally, status = process.worker().tally, handler.get_status()
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
        process.worker().tally.add("bokeh_connections_rejected_total", "origin")
    return allowed


def _open(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    handoff.opens(self)
    try:
        return original(self, *args, **kwargs)
    except Exception as error:
        reason = "protocol" if self.current_user else "auth"
        for words, known in (("expired", "token_expired"), ("signature", "bad_signature")):
            reason = known if words in str(error) else reason
        process.worker().tally.add("bokeh_connections_rejected_total", reason)
        raise


# ASGI --------------------------------------------------------------------------------------------


def _hook_core(module: Any) -> None:
    wrap(module.BokehServerCore, "initialize", asgi.initialize_core)


def _hook_uvicorn(module: Any) -> None:
    wrap(module.Server, "startup", asgi.uvicorn_startup)


def _hook_daphne(module: Any) -> None:
    wrap(module.Server, "listen_success", asgi.daphne_listens)


HOOKS: dict[str, Callable[[Any], None]] = {
    "bokeh.server.contexts": _hook_contexts,
    "bokeh.server.session": _hook_sessions,
    "bokeh.server.protocol_handler": _hook_protocol,
    "bokeh.embed.util": _hook_pages,
    "bokeh.server.tornado": _hook_tornado,
    "bokeh.server.core": _hook_core,
    "bokeh.server.asgi": lambda module: wrap_application(module.BokehASGI),
    "uvicorn.server": _hook_uvicorn,
    "daphne.server": _hook_daphne,
    "starlette.applications": lambda module: wrap_application(module.Starlette),
    "django.core.handlers.asgi": lambda module: wrap_application(module.ASGIHandler),
    "channels.routing": lambda module: wrap_application(module.ProtocolTypeRouter),
}
