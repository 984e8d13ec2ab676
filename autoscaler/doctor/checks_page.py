"""What users meet at the app's public URL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, error, warning
from autoscaler.units import duration_text

if TYPE_CHECKING:
    from autoscaler.adapters.visitor import Visit

UNAUTHORIZED, FORBIDDEN, NOT_FOUND, BROKEN = 401, 403, 404, 500
# How a server answers a request for a WebSocket of which only the address has reached it.
NO_UPGRADE = (200, 400, 426)
UPGRADE = (
    "# nginx\nproxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\n"
    "proxy_set_header Connection $connection_upgrade;"
)
# Seconds for which a page should be able to reconnect; Bokeh's default is five minutes.
LONG_ENOUGH = 3600.0
STICKY = (
    "# several pods: a sticky proxy in front (deploy/README.md)\n"
    "components:\n  - ../bokeh-autoscaler/deploy/kubernetes/components/sticky-haproxy\n"
    "# several processes in one pod: the launcher, whose workers hand connections to each other\n"
    "# bokeh-exporter launch -- bokeh serve app.py --num-procs 4"
)
EXPIRATION = "args: [bokeh, serve, app.py, --session-token-expiration=86400]"
# By the beginning of the header Server of each ASGI server: its option for the seconds between two
# pings. They start no `bokeh serve`, so none of its options is one of theirs.
PINGS = {
    "uvicorn": "--ws-ping-interval",
    "hypercorn": "--websocket-ping-interval",
    "daphne": "--ping-interval",
}


def page_does_not_open(facts: Facts) -> Iterator[Finding]:
    """The page must be there."""
    seen = facts.visit
    if seen is not None and seen.problem:
        yield error(
            "page-does-not-open",
            seen.url,
            f"No user reaches the app: {seen.problem}.",
            f"curl -v {seen.url}",
        )


def not_a_bokeh_page(facts: Facts) -> Iterator[Finding]:
    """The page must be that of a session."""
    seen = facts.visit
    if seen is not None and not seen.problem and not seen.is_bokeh:
        there = f" from {seen.place}" if seen.place not in ("", seen.url) else ""
        feel, fix = _instead(seen)
        yield error(
            "not-a-bokeh-page",
            f"{seen.url}, HTTP {seen.status}{there}",
            f"{feel}, so nothing behind it was examined.",
            fix,
        )


def _instead(seen: Visit) -> tuple[str, str]:
    """Return what is there instead of a page of a session, and how to come to one."""
    again = f"autoscaler doctor {seen.url} --header"
    login = f"# with a login, the cookie of a browser:\n{again} 'Cookie=NAME=VALUE'"
    if seen.elsewhere:
        return (
            f"The answer sends the browser to another host, {seen.elsewhere}",
            f"# if the app is there:\nautoscaler doctor {seen.elsewhere}\n{login}",
        )
    if seen.embeds:
        return (
            f"The page has no session of its own, but embeds the app {seen.embeds}",
            f"autoscaler doctor {seen.embeds}",
        )
    if seen.status == UNAUTHORIZED:
        return "The answer asks for a login", f"{again} 'Authorization=Basic BASE64'\n{login}"
    if seen.status == NOT_FOUND:
        return (
            "No page has this address",
            f"autoscaler doctor {urljoin(seen.url, '/PREFIX/APP')}",
        )
    if seen.status >= BROKEN:
        return "The app, or a proxy that waits for it, fails", f"curl -v {seen.url}"
    return (
        "The answer has no session token: it is a login or another page",
        f"# the address of the page itself, as in {urljoin(seen.url, '/APP')}\n{login}",
    )


def script_missing(facts: Facts) -> Iterator[Finding]:
    """The page must get its scripts, which have other addresses than the page."""
    seen = facts.visit
    if seen is not None and seen.script:
        folder = urlsplit(urljoin(seen.script, ".")).path
        yield error(
            "script-missing",
            f"{seen.url}, script {seen.script}",
            "Users see an empty page, because its scripts do not open.",
            "# a proxy must pass on the scripts too, not only the page\n"
            f"location {folder} {{ proxy_pass http://bokeh-app; }}    # nginx",
        )


def page_shared(facts: Facts) -> Iterator[Finding]:
    """Each user must get a page of an own session."""
    seen = facts.visit
    if seen is not None and seen.shared:
        yield error(
            "page-shared",
            f"{seen.url}, session token",
            "Users get into each other's sessions, and see and change what others do, because a "
            "cache on the way gives the page of one user to others.",
            "proxy_cache off;    # nginx, or no caching of this address in the CDN",
        )


def websocket_refused(facts: Facts) -> Iterator[Finding]:
    """The WebSocket must open."""
    seen = facts.visit
    if seen is None or seen.refused is None:
        return
    place = seen.web_socket
    if seen.refused == FORBIDDEN:
        yield error(
            "websocket-origin-refused",
            f"{place}, HTTP 403",
            "Users see a page that does not react, because the server does not accept its origin.",
            _allow(urlsplit(place).netloc, seen)
            + "# or let the proxy pass on the Host that the browser sent",
        )
    else:
        yield error(
            "websocket-not-passed-on",
            f"{place}, HTTP {seen.refused}",
            "Users see a page that does not react, because its WebSocket is not opened.",
            UPGRADE
            if seen.refused in NO_UPGRADE
            else "# what answers this instead of the app: a path, a limit or a rule of a proxy\n"
            f"curl -i --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' {_page_of(place)}",
        )


def _asgi(seen: Visit) -> str:
    """Return the name of the ASGI server that served the page, or "" if none is seen."""
    return next((name for name in PINGS if seen.server.lower().startswith(name)), "")


def _allow(host: str, seen: Visit) -> str:
    """Return how to allow an origin; Bokeh cannot read an IPv6 address."""
    if _asgi(seen):
        return f"# allow {host} where the app itself looks at origins (docs/servers.md, FastAPI)\n"
    return (
        "# open the app by a name, because Bokeh allows no IPv6 address\n"
        if host.startswith("[")
        else f"args: [bokeh, serve, app.py, --allow-websocket-origin={host}]\n"
    )


def _page_of(web_socket: str) -> str:
    """Return the address to which an HTTP client sends what a browser sends to a WebSocket."""
    return "http" + web_socket.removeprefix("ws")


def websocket_closed(facts: Facts) -> Iterator[Finding]:
    """The WebSocket must be acknowledged, in every try."""
    seen = facts.visit
    if seen is not None and seen.closed:
        yield error(
            "websocket-closed",
            f"{seen.url}, WebSocket",
            f"Some users see a page that does not react: {seen.closed}.",
            "# every pod needs the same key, and a page must reach a pod that knows its token:\n"
            "envFrom:\n"
            "  - secretRef: {name: bokeh-app}    # BOKEH_SECRET_KEY, BOKEH_SIGN_SESSIONS\n"
            "# and a proxy must pass on the header Sec-WebSocket-Protocol, which has the token",
        )


def page_and_websocket_apart(facts: Facts) -> Iterator[Finding]:
    """Page, WebSocket and reconnect must reach one session."""
    seen = facts.visit
    if seen is None or not (seen.strangers or seen.lost):
        return
    with_cookies = f" The page sets {', '.join(seen.cookies)}." if seen.cookies else ""
    yield error(
        "session-not-found-again",
        f"{seen.url}: of {seen.tries} pages, {seen.strangers} had a WebSocket with another session "
        f"than the page, {seen.lost} lost theirs when they reconnected.{with_cookies}",
        "Users whose connection breaks lose their work, and the app runs twice for each page, "
        "because connections of one browser reach several pods or processes.",
        STICKY,
    )


def token_expires(facts: Facts) -> Iterator[Finding]:
    """A page must be able to reconnect when it has been open for a while."""
    seen = facts.visit
    if seen is not None and seen.token_lasts is not None and seen.token_lasts < LONG_ENOUGH:
        lasts = duration_text(round(seen.token_lasts))
        yield warning(
            "token-expires-early",
            f"{seen.url}, session token, valid for {lasts}",
            f"A page that has been open for longer than {lasts} cannot reconnect, and stays dead.",
            "# bokeh-fastapi and bokeh-django have no option for it (docs/servers.md, FastAPI);\n"
            f"# an app that can do without {_asgi(seen)} raises it:\n{EXPIRATION}"
            if _asgi(seen)
            else EXPIRATION,
        )


def header_limit(facts: Facts) -> Iterator[Finding]:
    """The token holds the cookies of the page, and travels in one header with them."""
    seen = facts.visit
    if seen is not None and seen.too_large is not None:
        size, step = seen.too_large
        yield warning(
            "header-limit",
            f"{seen.url}, {step}, with {size >> 10} KiB of cookies",
            "Users with large cookies, as of a single sign-on, see an error or a page that does "
            "not react.",
            "large_client_header_buffers 4 64k;    # nginx\ntune.bufsize 65536    # HAProxy\n"
            "WEBSOCKETS_MAX_LINE_LENGTH=65536    # uvicorn, in its environment\n"
            "# or keep cookies out of the token: bokeh serve --exclude-cookies NAME",
        )


def idle_timeout(facts: Facts) -> Iterator[Finding]:
    """A connection on which only pings are exchanged must stay."""
    seen = facts.visit
    if seen is not None and seen.idle_end is not None:
        yield error(
            "idle-timeout",
            f"{seen.url}, WebSocket, closed after {seen.idle_end:.0f} s",
            "Users who read for a while lose their connection again and again, because something "
            "on the way closes it before the server's next ping.",
            f"{_pinging(seen, _ping(seen.idle_end))}\n"
            "proxy_read_timeout 1h;    # nginx\ntimeout tunnel 1h    # HAProxy",
        )


def _pinging(seen: Visit, milliseconds: int) -> str:
    """Return how the server gets to send pings as often."""
    if server := _asgi(seen):
        seconds = max(1, milliseconds // 1000)
        return f"{PINGS[server]}={seconds}    # seconds, beside the other options of {server}"
    return f"args: [bokeh, serve, app.py, --keep-alive={milliseconds}]    # milliseconds"


def _ping(idle_end: float) -> int:
    """Return the milliseconds between two pings that keep a connection, with two tries."""
    return min(10_000, max(500, round(idle_end * 400)))
