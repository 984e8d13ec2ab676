"""The Bokeh server of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import Server

from autoscaler.dashboard.page import Page, Services
from autoscaler.errors import AutoscalerError


class Place(NamedTuple):
    """Where the page is served.

    host, port: to listen at; port 0: a free one. prefix: of its path, such as /autoscaler. origins:
    hosts, with their ports, by which browsers open it, besides the own address.
    """

    host: str
    port: int
    prefix: str = ""
    origins: Sequence[str] = ()


class DashboardServer:
    """Serves the page. Raises AutoscalerError if it cannot listen."""

    def __init__(self, place: Place, services: Services, timezone: str | None) -> None:
        def open_page(document: Document) -> None:
            Page(document, services, timezone, _target_of(document))

        self._place = place
        try:
            self._server = Server(
                {"/": Application(FunctionHandler(open_page))},
                address=place.host,
                port=place.port,
                prefix=place.prefix,
                allow_websocket_origin=[*place.origins] or None,
            )
        except OSError as error:
            where = f"{place.host}:{place.port}"
            raise AutoscalerError(
                f"cannot listen on {where}: {error.strerror}; set another --listen"
            ) from None

    @property
    def url(self) -> str:
        """The address for a browser on this machine."""
        host = f"[{self._place.host}]" if ":" in self._place.host else self._place.host
        return f"http://{host or 'localhost'}:{self._server.port}{self._server.prefix}/"

    def serve(self, ready: Callable[[], None]) -> None:
        """Serve until the process is interrupted. ready: called when browsers can open it."""
        self._server.start()
        ready()
        self._server.io_loop.start()


def _target_of(document: Document) -> str:
    """Return the target that the address names: ?target=NAMESPACE/DEPLOYMENT."""
    context: Any = document.session_context
    asked = context.request.arguments.get("target", []) if context and context.request else []
    return str(asked[0].decode(errors="replace")) if asked else ""
