"""What users meet at the app's public URL."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, error, warning
from autoscaler.units import duration_text

FORBIDDEN = 403
# Seconds for which a page should be able to reconnect; Bokeh's default is five minutes.
LONG_ENOUGH = 3600.0
STICKY = (
    "# several pods: a sticky proxy in front (deploy/README.md)\n"
    "components:\n  - ../bokeh-autoscaler/deploy/kubernetes/components/sticky-haproxy\n"
    "# several processes in one pod: the launcher, whose workers hand connections to each other\n"
    "# bokeh-exporter launch -- bokeh serve app.py --num-procs 4"
)
EXPIRATION = "args: [bokeh, serve, app.py, --session-token-expiration=86400]"


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
        yield error(
            "not-a-bokeh-page",
            f"{seen.url}, HTTP {seen.status}",
            "The answer has no session token: it is a login, an error or another page, so nothing "
            "behind it was examined.",
            "# the address of the page itself; with a login, the cookie of a browser:\n"
            f"autoscaler doctor {seen.url} --header 'Cookie=NAME=VALUE'",
        )


def websocket_refused(facts: Facts) -> Iterator[Finding]:
    """The WebSocket must open."""
    seen = facts.visit
    if seen is None or seen.refused is None:
        return
    if seen.refused == FORBIDDEN:
        host = urlsplit(seen.url).netloc
        yield error(
            "websocket-origin-refused",
            f"{seen.url}, WebSocket, HTTP 403",
            "Users see a page that does not react, because the server does not accept its origin.",
            f"args: [bokeh, serve, app.py, --allow-websocket-origin={host}]\n"
            "# or let the proxy pass on the Host that the browser sent",
        )
    else:
        yield error(
            "websocket-not-passed-on",
            f"{seen.url}, WebSocket, HTTP {seen.refused}",
            "Users see a page that does not react, because its WebSocket is not opened.",
            "# nginx\nproxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\n"
            "proxy_set_header Connection $connection_upgrade;",
        )


def websocket_closed(facts: Facts) -> Iterator[Finding]:
    """The WebSocket must be acknowledged, in every try."""
    seen = facts.visit
    if seen is not None and seen.closed:
        yield error(
            "websocket-closed",
            f"{seen.url}, WebSocket",
            f"Some users see a page that does not react: {seen.closed}.",
            "# every pod needs the same key, and a page must reach a pod that knows its token:\n"
            "envFrom:\n  - secretRef: {name: bokeh-app}    # BOKEH_SECRET_KEY, BOKEH_SIGN_SESSIONS",
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
            EXPIRATION,
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
            "args: [bokeh, serve, app.py, --keep-alive=10000]    # milliseconds\n"
            "proxy_read_timeout 1h;    # nginx\ntimeout tunnel 1h    # HAProxy",
        )
