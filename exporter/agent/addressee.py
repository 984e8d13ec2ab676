"""Which session a request asks for, read from its head the way Bokeh reads it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .census import is_library_app, route_of

CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")  # characters that Tornado replaces in arguments


class Asked(NamedTuple):
    """The application that a request asks for; session_id: empty if it asks for a new session."""

    app: str
    session_id: str
    websocket: bool

    @property
    def is_new_page(self) -> bool:
        """Whether a new session is to be created for a page."""
        return not (self.session_id or self.websocket)


def asked(application: Any, connection: Any, start_line: Any, headers: Any) -> Asked | None:
    """Return what a request asks for; None if neither a page nor the WebSocket of one.

    The application's own routing decides, so handlers of `extra_patterns` are what they are there.
    Raises ValueError and others for a head that Bokeh refuses.
    """
    from tornado.httputil import HTTPServerRequest

    request = HTTPServerRequest(connection=connection, start_line=start_line, headers=headers)
    found = application.find_handler(request)
    context = found.handler_kwargs.get("application_context")
    if context is None or is_library_app(context):
        return None
    upgrades = headers.get("Upgrade", "").lower() == "websocket"
    if upgrades:
        if not issubclass(found.handler_class, _websocket()):
            return None
        session_id = _of_token(headers.get("Sec-WebSocket-Protocol", "").split(",")[-1].strip())
    elif issubclass(found.handler_class, _pages()):
        session_id = _of_page(request)
    else:
        return None
    return Asked(route_of(context), session_id, upgrades)


def _pages() -> tuple[type, ...]:
    from bokeh.server.views.autoload_js_handler import AutoloadJsHandler
    from bokeh.server.views.doc_handler import DocHandler

    return DocHandler, AutoloadJsHandler


def _websocket() -> type:
    from bokeh.server.views.ws import WSHandler

    return WSHandler


def _of_token(token: str) -> str:
    from bokeh.util.token import get_session_id

    return str(get_session_id(token))


def _of_page(request: Any) -> str:
    """Return the session id in the arguments or headers of a page, of which Bokeh takes one."""
    if token := _argument(request, "bokeh-token"):
        return _of_token(token)
    header = str(request.headers.get("Bokeh-Session-Id", ""))
    return _argument(request, "bokeh-session-id") or header


def _argument(request: Any, name: str) -> str:
    """Return an argument as Tornado's `get_argument` has it; empty if there is none."""
    values = request.arguments.get(name, ())
    return CONTROL.sub(" ", values[-1].decode()).strip() if values else ""
