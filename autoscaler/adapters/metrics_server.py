"""The daemon's HTTP server for metrics, probes and its status, which is the exporter's server."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from autoscaler.errors import AutoscalerError
from exporter.web import PLAIN, Request, Response, Server

Check = Callable[[], str | None]
"""Returns why a probe fails, or None."""
Remark = Callable[[], str]
"""Returns the text of a probe that passes."""
Page = Callable[[], bytes | None]
"""Returns a page as JSON, or None before there is one."""
JSON = "application/json"
TOO_EARLY = b"no reconcile pass has finished yet\n"


class WebServer:
    """Serves a registry, checks and pages, each at its path, from threads of its own."""

    def __init__(
        self,
        address: tuple[str, int],
        registry: CollectorRegistry,
        checks: Mapping[str, Check],
        remarks: Mapping[str, Remark] = {},
        pages: Mapping[str, Page] = {},
    ) -> None:
        self._registry, self._checks, self._remarks = registry, checks, remarks
        self._pages = pages
        host, port = address
        try:
            self._server = Server(host, port, lambda: self._answer)
        except OSError as error:
            raise AutoscalerError(
                f"cannot listen on {host}:{port}: {error.strerror}; set another --listen"
            ) from None

    @property
    def port(self) -> int:
        """The port in use, even if port 0 was requested."""
        return self._server.port

    def start(self) -> None:
        """Start to serve."""
        self._server.start()

    def stop(self) -> None:
        """Stop serving and close the port."""
        self._server.close()

    def _answer(self, request: Request) -> Response:
        path = request.path
        if path == "/metrics":
            encode, kind = choose_encoder(request.headers.get("accept", ""))
            return Response(200, kind, encode(self._registry))
        if path in self._checks:
            wrong = self._checks[path]()
            said = wrong or self._remarks.get(path, lambda: "ok")()
            return Response(503 if wrong else 200, PLAIN, f"{said}\n".encode())
        if path in self._pages:
            content = self._pages[path]()
            return (
                Response(503, PLAIN, TOO_EARLY) if content is None else Response(200, JSON, content)
            )
        *others, last = ("/metrics", *self._checks, *self._pages)
        return Response(404, PLAIN, f"page not found; try {', '.join(others)} or {last}\n".encode())
