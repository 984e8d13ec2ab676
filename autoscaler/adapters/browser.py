"""A browser without a window: it keeps cookies, follows redirects and opens WebSockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urljoin, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.websocket import WebSocketClientConnection

from autoscaler.adapters.bokeh_pages import ANSWER_WITHIN, open_socket, until_closed

REDIRECTS = 5
# Seconds for a page, whose app may load its data first: as long as proxies wait by default.
PAGE_WITHIN = 60.0
# Seconds for the end of a connection.
CLOSE_WITHIN = 2.0


@dataclass(slots=True)
class Browser:
    """One browser: its cookies, and what it sends with each request.

    headers: further ones, such as those of a login.
    """

    headers: Mapping[str, str]
    jar: SimpleCookie = field(default_factory=SimpleCookie)
    ballast: str = ""

    def sends(self, **more: str) -> dict[str, str]:
        """Return the headers of a request, with its cookies."""
        pairs = [f"{each.key}={each.coded_value}" for each in self.jar.values()]
        pairs += [self.headers["Cookie"]] if "Cookie" in self.headers else []
        pairs += [f"doctor={self.ballast}"] if self.ballast else []
        return {**self.headers, **({"Cookie": "; ".join(pairs)} if pairs else {}), **more}

    async def get(self, url: str) -> HTTPResponse:
        """GET a page and follow its redirects with the cookies that they set.

        No other host is asked: it must not learn the headers and cookies of this one.
        """
        client = AsyncHTTPClient(force_instance=True)  # a new connection, as of a new browser
        try:
            for _ in range(REDIRECTS):
                request = HTTPRequest(
                    url,
                    headers=self.sends(),
                    follow_redirects=False,
                    connect_timeout=ANSWER_WITHIN,
                    request_timeout=PAGE_WITHIN,
                )
                answer = await client.fetch(request, raise_error=False)
                self._keep(url, answer.headers.get_list("Set-Cookie"))
                place = redirect(answer)
                if not place or urlsplit(place).hostname != urlsplit(url).hostname:
                    return answer
                url = place
            raise OSError(f"more than {REDIRECTS} redirects, at last to {url}")
        finally:
            client.close()

    def _keep(self, url: str, cookies: Iterable[str]) -> None:
        """Keep the cookies of an answer; a browser does not keep `Secure` ones without TLS."""
        for line in cookies:
            with suppress(CookieError):
                found = SimpleCookie(line)
                if url.startswith("https:") or not any(each["secure"] for each in found.values()):
                    self.jar.update(found)

    @asynccontextmanager
    async def connected(self, page: str, token: str) -> AsyncIterator[WebSocketClientConnection]:
        """Open the WebSocket of a page, as a page of the same site does, and close it again."""
        parts = urlsplit(page)
        origin = f"{parts.scheme}://{parts.netloc}"
        async with asyncio.timeout(ANSWER_WITHIN):
            connection = await open_socket(page, token, self.sends(Origin=origin))
        try:
            yield connection
        finally:
            connection.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN):
                    await until_closed(connection)


def redirect(answer: HTTPResponse) -> str:
    """Return where an answer sends the browser, or ""."""
    if answer.code not in (301, 302, 303, 307, 308):
        return ""
    return urljoin(answer.request.url, answer.headers.get("Location", ""))
