"""Access to the sidecar's pages: with a token file, a reader must send one of its tokens."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.console import say
from exporter.texts import visible
from exporter.tokens import TokenError, TokenFile
from exporter.web import PLAIN, Request, Response

NOTICE = "/notice"
UNKNOWN = Response(
    401,
    PLAIN,
    b"this page requires the header Authorization: Bearer TOKEN\n",
    (("WWW-Authenticate", "Bearer"),),
)


class TokenGuard:
    """Rejects requests for some pages that carry no valid token.

    pages: the paths that require a token, besides `/notice`. Those of the kubelet's probes must
    not be among them, because the kubelet sends none.
    """

    def __init__(self, tokens: TokenFile, pages: Iterable[str]) -> None:
        self._tokens = tokens
        self._pages = frozenset({*pages, NOTICE})
        self._told = ""

    def refusal(self, request: Request) -> Response | None:
        """Return the response that replaces the page, or None if the request may read it.

        While the token file cannot be read, all requests are rejected. That is reported on stderr
        once.
        """
        if request.path not in self._pages:
            return None
        try:
            known = self._tokens.accepts(request.headers.get("authorization", ""))
        except TokenError as error:
            return self._closed(visible(error))
        self._told = ""
        return None if known else UNKNOWN

    def _closed(self, why: str) -> Response:
        if why != self._told:
            self._told = why
            say(why)
        return Response(503, PLAIN, f"{why}\n".encode())
