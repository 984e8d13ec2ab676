"""A visitor of an app's public URL, who opens it as browsers do and looks at what comes back.

Each try is a new browser without cookies: it opens the page, its WebSocket, changes the title of
its own session's document, breaks the connection and returns as a page does that reconnects. The
answers show whether page, WebSocket and reconnect reached the same session, which nothing else
shows from outside: a Bokeh server silently makes a second session for a token that it does not
know.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit

from tornado.httpclient import HTTPClientError, HTTPResponse
from tornado.simple_httpclient import HTTPTimeoutError
from tornado.websocket import WebSocketClientConnection, WebSocketError

from autoscaler.adapters.bokeh_pages import (
    ANSWER_WITHIN,
    ask,
    reason_of,
    token_in,
    until_closed,
    web_socket_of,
)
from autoscaler.adapters.browser import Browser, redirect

# As many as two pods without stickiness need to be noticed with near certainty.
TRIES = 6
# Bytes of cookies: one of the largest that browsers store, and three, as of a single sign-on.
COOKIES = (4 << 10, 12 << 10)
TITLE = "TitleChanged"
CHOSEN = "bokeh-session-id"  # the parameter and the header by which a user names a session
SCRIPT = re.compile(r"""<script[^>]*\ssrc=["']([^"']+)""")
EMBEDDED = re.compile(r"""["']([^"'\s]+)/autoload\.js\b""")
# Tornado logs some failures, which are in the report.
logging.getLogger("tornado.general").addHandler(logging.NullHandler())
FAILURES = (OSError, HTTPClientError, WebSocketError, ValueError, KeyError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Visit:
    """What a visitor saw. problem: why the page could not be opened, in one line.

    status: of the page. place: its address after redirects. elsewhere: the address on another
    host to which it redirects, or "". server: what answered, by its header Server, or "".
    is_bokeh: whether the page has a session token. embeds: the address of an app that it embeds
    instead, or "". token_lasts: seconds for which the token is valid. script: address and
    answer of a script of the page that is not there, or "". refused: HTTP status with which the
    WebSocket was refused; 200 if a page was the answer. closed: why it ended before its
    acknowledgment. sessions: ids of those that the pages named. shared: whether two browsers
    got the same one. tries: opened pages; of these, strangers: whose WebSocket found another
    session than the page's, and lost: whose reconnect did. cookies: names of those that were
    set. too_large: bytes of cookies with which it no longer opens, and the step. idle_end:
    seconds after which an idle WebSocket was closed; watched: seconds for which one was kept.
    unexamined: what was not looked at, and why, or "".
    """

    url: str
    problem: str = ""
    status: int = 0
    place: str = ""
    elsewhere: str = ""
    server: str = ""
    is_bokeh: bool = False
    embeds: str = ""
    token_lasts: float | None = None
    script: str = ""
    refused: int | None = None
    closed: str = ""
    sessions: frozenset[str] = frozenset()
    shared: bool = False
    tries: int = 0
    strangers: int = 0
    lost: int = 0
    cookies: tuple[str, ...] = ()
    too_large: tuple[int, str] | None = None
    idle_end: float | None = None
    watched: float = 0.0
    unexamined: str = ""

    @property
    def web_socket(self) -> str:
        """Where the page opens its WebSocket."""
        return web_socket_of(self.place or self.url)


@dataclass(frozen=True, slots=True)
class _Page:
    """An opened page. roots: ids of the roots that its session has. scripts: their addresses."""

    url: str
    token: str
    roots: frozenset[str]
    scripts: tuple[str, ...]


def visit(
    url: str, headers: Mapping[str, str], wait: float, progress: Callable[[float], None]
) -> Visit:
    """Open an app as browsers do, and return what was seen. Never raises.

    wait: seconds for which to keep one idle connection; 0: none.
    """
    return asyncio.run(_visit(url, headers, wait, progress))


async def _visit(
    url: str, headers: Mapping[str, str], wait: float, progress: Callable[[float], None]
) -> Visit:
    seen = await _first(Visit(url), headers)
    if seen.problem or not seen.is_bokeh or seen.refused or seen.closed:
        behind = "its page or its WebSocket does not open"
        return replace(seen, unexamined=f"sessions, headers and timeouts of {url}: {behind}")
    for number in range(TRIES):
        progress(number / (TRIES + 2))
        seen = await _again(seen, headers)
    seen = replace(seen, too_large=await _too_large(url, headers))
    if not wait:
        return replace(seen, unexamined=f"idle timeouts of {url}: set --wait, such as --wait 60s")
    return await _idle(seen, headers, wait, progress)


async def _first(seen: Visit, headers: Mapping[str, str]) -> Visit:
    """Open the page once, with its WebSocket; say which of them does not open."""
    browser = Browser(headers)
    try:
        answer = await browser.get(seen.url)
    except FAILURES as failure:
        return replace(seen, problem=reason_of(failure))
    page = _page(answer)
    seen = replace(
        seen,
        status=answer.code,
        place=answer.effective_url,
        elsewhere=redirect(answer),
        server=answer.headers.get("Server", ""),
        cookies=tuple(browser.jar),
        is_bokeh=page is not None,
    )
    if page is None:
        return replace(seen, embeds=_app_in(answer))
    seen = replace(
        seen,
        token_lasts=_lasts(page.token, answer),
        sessions=_sessions(page, headers),
        script=await _missing(browser, page),
    )
    return await _connects(seen, browser, page)


async def _connects(seen: Visit, browser: Browser, page: _Page) -> Visit:
    """Open the WebSocket of a page once; say why it does not open."""
    try:
        async with browser.connected(page.url, page.token):
            return seen
    except HTTPTimeoutError as failure:
        return replace(seen, closed=reason_of(failure))
    except HTTPClientError as failure:
        return replace(seen, refused=failure.code)
    except WebSocketError:
        return replace(seen, refused=200)
    except FAILURES as failure:
        return replace(seen, closed=reason_of(failure))


async def _missing(browser: Browser, page: _Page) -> str:
    """Return address and answer of the first script of the page's host, if it is not there."""
    here = urlsplit(page.url).hostname
    script = next((each for each in page.scripts if urlsplit(each).hostname == here), None)
    if script is None:
        return ""
    place = script.partition("?")[0]
    try:
        answer = await browser.get(script)
    except FAILURES as failure:
        return f"{place}, {reason_of(failure)}"
    is_page = "html" in answer.headers.get("Content-Type", "")
    is_there = answer.code < HTTPStatus.BAD_REQUEST and not (is_page and not redirect(answer))
    return "" if is_there else f"{place}, HTTP {answer.code}"


async def _again(seen: Visit, headers: Mapping[str, str]) -> Visit:
    """Open the page as another browser, and return to it after its connection broke."""
    browser = Browser(headers)
    try:
        page = _page(await browser.get(seen.url))
        if page is None:
            return replace(seen, tries=seen.tries + 1, closed="some pages have no session token")
        named = _sessions(page, headers)
        seen = replace(
            seen, sessions=seen.sessions | named, shared=seen.shared or bool(seen.sessions & named)
        )
        async with browser.connected(page.url, page.token) as first:
            document = await _document(first)
            mark = {"kind": TITLE, "title": f"autoscaler doctor {secrets.token_hex(4)}"}
            async with asyncio.timeout(ANSWER_WITHIN):
                await ask(first, "PATCH-DOC", {"events": [mark]}, "OK")
        async with browser.connected(page.url, page.token) as second:
            returned = await _document(second)
    except FAILURES as failure:
        return replace(seen, tries=seen.tries + 1, closed=reason_of(failure))
    strange = not page.roots <= _roots(document)
    lost = _roots(document) != _roots(returned) or returned["title"] == document["title"]
    return replace(
        seen,
        tries=seen.tries + 1,
        strangers=seen.strangers + strange,
        lost=seen.lost + lost,
    )


async def _too_large(url: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
    """Return with how many bytes of cookies the page, or its WebSocket, no longer opens."""
    for size in COOKIES:
        browser = Browser(headers, ballast=secrets.token_urlsafe(size)[:size])
        try:
            page = _page(await browser.get(url))
            if page is None:
                return size, "page"
        except FAILURES:
            return size, "page"
        try:
            async with browser.connected(page.url, page.token):
                continue
        except FAILURES:
            return size, "WebSocket"
    return None


async def _idle(
    seen: Visit, headers: Mapping[str, str], wait: float, progress: Callable[[float], None]
) -> Visit:
    """Keep a connection on which only the server's pings are exchanged."""
    browser = Browser(headers)
    try:
        page = _page(await browser.get(seen.url))
        if page is None:
            raise OSError("the page has no session token")
        async with browser.connected(page.url, page.token) as connection:
            lasted, ended = await _watch(connection, wait, progress)
    except FAILURES as failure:
        return replace(seen, unexamined=f"idle timeouts of {seen.url}: {reason_of(failure)}")
    return replace(seen, watched=lasted, idle_end=lasted if ended else None)


async def _watch(
    connection: WebSocketClientConnection, wait: float, progress: Callable[[float], None]
) -> tuple[float, bool]:
    """Return for how many seconds a connection lasted, and whether it ended before the time."""
    began = time.monotonic()
    reading = asyncio.ensure_future(until_closed(connection))
    while not reading.done() and (passed := time.monotonic() - began) < wait:
        progress(passed / wait)
        await asyncio.wait([reading], timeout=min(1.0, wait - passed))
    reading.cancel()
    return time.monotonic() - began, reading.done() and not reading.cancelled()


def _text(answer: HTTPResponse) -> str:
    return answer.body.decode(errors="replace") if answer.body else ""


def _page(answer: HTTPResponse) -> _Page | None:
    """Return a page of a Bokeh server, or None if it is something else."""
    text, url = _text(answer), answer.effective_url
    token = token_in(text)
    if answer.code != 200 or token is None:
        return None
    scripts = tuple(urljoin(url, each) for each in SCRIPT.findall(text))
    return _Page(url, token, frozenset(_embedded(text)), scripts)


def _app_in(answer: HTTPResponse) -> str:
    """Return the address of the app that a page embeds by a script of the app, or ""."""
    found = EMBEDDED.search(_text(answer))
    return urljoin(answer.effective_url, found[1]) if found else ""


def _sessions(page: _Page, headers: Mapping[str, str]) -> frozenset[str]:
    """Return the id of the page's session, if the server chose it and it can be read."""
    chosen = CHOSEN in page.url or CHOSEN in map(str.lower, headers)
    found = None if chosen else _payload(page.token).get("session_id")
    return frozenset({found} if isinstance(found, str) else ())


def _embedded(text: str) -> list[str]:
    """Return the ids of the roots for which a page has places."""
    _, found, rest = text.partition('"root_ids":')
    with suppress(ValueError):
        ids, _ = json.JSONDecoder().raw_decode(rest.lstrip()) if found else ([], 0)
        return [each for each in ids if isinstance(each, str)]
    return []


async def _document(connection: WebSocketClientConnection) -> Any:
    async with asyncio.timeout(ANSWER_WITHIN):
        return (await ask(connection, "PULL-DOC-REQ", {}, "PULL-DOC-REPLY"))["doc"]


def _roots(document: Any) -> frozenset[str]:
    return frozenset(each["id"] for each in document["roots"])


def _payload(token: str) -> Mapping[str, Any]:
    """Return what a token says, or nothing if it cannot be read."""
    text = token.partition(".")[0]
    with suppress(ValueError):
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return found if isinstance(found, dict) else {}
    return {}


def _lasts(token: str, answer: HTTPResponse) -> float | None:
    """Return for how many seconds a token is valid, by the clock of the server, if it says."""
    try:
        now = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        return max(0.0, float(_payload(token)["session_expiry"]) - now)
    except (ValueError, KeyError, TypeError):
        return None
