"""The sidecar's HTTP server: /metrics, /state, /healthz, /readyz, and /notice for `POST`.

It has a port and threads of its own. On the app's port a random worker would answer, and late
whenever that worker's event loop is busy.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from functools import cached_property

from exporter.agent.thread_errors import ThreadErrors
from exporter.doorkeeper import NOTICE, TokenGuard
from exporter.exposition import prefers_openmetrics, render
from exporter.notice_desk import NoticeDesk
from exporter.observe import PodObserver, PodView
from exporter.state import state
from exporter.web import PLAIN, Limits, Request, Response, Server

POLL_SECONDS = 0.5
SIGNALS = {signal.SIGTERM, signal.SIGINT}


class SidecarPages:
    """The pages, all made from one observation, which the first page that needs it makes.

    desk: takes notices. guard: checks the tokens of requests; None if no page requires one.
    """

    def __init__(
        self, observer: PodObserver, desk: NoticeDesk, guard: TokenGuard | None = None
    ) -> None:
        self._observer = observer
        self._desk = desk
        self._guard = guard
        self._rendered: dict[bool, Response] = {}

    @cached_property
    def _seen(self) -> PodView:
        return self._observer.observe()

    def answer(self, request: Request) -> Response:
        """Return the response to a request."""
        pages: dict[str, Callable[[Request], Response]] = {
            "/metrics": self._metrics,
            "/state": self._state,
            "/healthz": lambda _: Response(200, PLAIN, b"ok\n"),
            "/readyz": self._ready,
            NOTICE: self._desk.answer,
        }
        page = pages.get(request.path)
        if page is None:
            return Response(404, PLAIN, f"page not found; try {' '.join(pages)}\n".encode())
        refusal = None if self._guard is None else self._guard.refusal(request)
        return refusal or page(request)

    def _metrics(self, request: Request) -> Response:
        accept = request.headers.get("accept", "")
        form = prefers_openmetrics(accept)
        if form not in self._rendered:
            body, content_type = render(self._seen, accept)
            self._rendered[form] = Response(200, content_type, body)
        return self._rendered[form]

    def _state(self, _: Request) -> Response:
        body = json.dumps(state(self._seen))
        return Response(200, "application/json", f"{body}\n".encode())

    def _ready(self, _: Request) -> Response:
        if self._seen.ready:
            return Response(200, PLAIN, b"ready\n")
        return Response(503, PLAIN, b"no Bokeh server is serving yet\n")


def server(
    observer: PodObserver, address: str, port: int, guard: TokenGuard | None = None
) -> Server:
    """Return a server of the pages, bound but not started. Raises OSError if the port is taken."""
    desk = NoticeDesk(observer.peers, is_guarded=guard is not None)
    limits = Limits(posts=frozenset({NOTICE}))
    return Server(address, port, lambda: SidecarPages(observer, desk, guard).answer, limits)


def serve(
    instance: str, app_port: int | None, address: str, port: int, guard: TokenGuard | None = None
) -> int:
    """Serve the pages until told to stop, and return the exit code.

    After SIGTERM it continues until the app's processes have ended: Kubernetes signals both
    containers at once, and the drain that then begins is observed through this port. A second
    SIGTERM, or SIGINT, ends it at once. Raises OSError if the port cannot be opened.
    """
    observer = PodObserver(instance, app_port)
    pages = server(observer, address, port, guard)
    # The signals are blocked and waited for, because a handler would interrupt any code.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pages.start()
    complaints, leaving = ThreadErrors("the sidecar"), False
    while not _may_end(observer, complaints, leaving=leaving):
        came = signal.sigtimedwait(SIGNALS, POLL_SECONDS)
        if came is not None and (leaving or came.si_signo == signal.SIGINT):
            break
        leaving = leaving or came is not None
    pages.close()
    return 0


def _may_end(observer: PodObserver, complaints: ThreadErrors, *, leaving: bool) -> bool:
    """Observe the workers if no request did so, and return whether the sidecar may end."""
    try:
        observer.look()
        return leaving and not observer.peers.present()
    except Exception as error:
        complaints.tell(error)
        return False
