"""A page for a browser on this machine, which reloads itself when there is a newer version."""

from __future__ import annotations

from autoscaler.errors import AutoscalerError
from exporter.web import PLAIN, Request, Response, Server

ADDRESS = "127.0.0.1"
HTML = "text/html; charset=utf-8"
# Asks twice a second whether there is a newer version, also after the server was away.
RELOADING = """\
<script>
setInterval(async () => {
  try { if (await (await fetch("version")).text() !== "%d") location.reload(); } catch { }
}, 500);
</script>
"""


class LivePage:
    """Serves one page, on a free port of this machine. Raises AutoscalerError if there is none."""

    def __init__(self) -> None:
        self._version, self._content = 0, b""
        try:
            self._server = Server(ADDRESS, 0, lambda: self._answer)
        except OSError as error:
            raise AutoscalerError(f"cannot listen on {ADDRESS}: {error.strerror}") from None
        self._server.start()

    @property
    def url(self) -> str:
        """The address for a browser."""
        return f"http://{ADDRESS}:{self._server.port}/"

    def show(self, html: str) -> None:
        """Show a newer version."""
        script = RELOADING % (self._version + 1)
        self._content = html.replace("</body>", f"{script}</body>", 1).encode()
        self._version += 1

    def close(self) -> None:
        """Stop serving."""
        self._server.close()

    def _answer(self, request: Request) -> Response:
        if request.path == "/version":
            return Response(200, PLAIN, f"{self._version}".encode())
        if request.path == "/":
            return Response(200, HTML, self._content)
        return Response(404, PLAIN, b"page not found; try /\n")
