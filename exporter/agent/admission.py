"""Admission to a draining worker: which pages and WebSockets it still accepts."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from .census import members
from .visits import OPENING_SECONDS, TOKEN_SECONDS, OpeningPages, digest

# The cookies that the proxies in deploy/nginx and deploy/haproxy set.
COOKIES = "sticky_pod,sticky_fresh"
# Seconds. Other pods are ready already, and stale lists of endpoints are updated within a second.
RETRY_AFTER = "1"
STATUS, REASON = 503, "Service Unavailable"
BODY = b"this server is being stopped and takes no new sessions; please load the page again\n"


class Refused(Exception):  # noqa: N818 - a response and not an error
    """A new session was requested while this worker drains; nothing was created."""


class Admission:
    """Accepts all sessions until the worker is told to drain, and no new ones after that."""

    def __init__(self, contexts: Any, pages: OpeningPages) -> None:
        self._contexts = contexts
        self._pages = pages
        self._closed_at: float | None = None  # Unix seconds, to compare with those of tokens
        self._closed_since = 0.0  # the same moment on the monotonic clock
        self._others = False
        self._expected: dict[str, float] = {}  # digests of other workers' pages; monotonic times
        names = os.environ.get("BOKEH_EXPORTER_AFFINITY_COOKIES", COOKIES).split(",")
        self._cookies = [name.strip() for name in names if name.strip()]

    @property
    def closed(self) -> bool:
        """Whether this worker drains."""
        return self._closed_at is not None

    def close(self, others: bool) -> None:
        """Take no new sessions from now on. others: whether the pod has other workers."""
        if self._closed_at is None:
            self._closed_at, self._closed_since = time.time(), time.monotonic()
            self._others = others

    def admits(self, session_id: str) -> bool:
        """Return whether a page or WebSocket of this session is accepted.

        While draining, that is so if it needs no new session or its page was sent before.
        """
        return not self.closed or session_id in self._pages or self.knows(session_id)

    def knows(self, session_id: str) -> bool:
        """Return whether the session exists in this process or is being created."""
        for context in members(self._contexts):
            session = context._sessions.get(session_id)
            if session is not None and not session.destroyed:
                return True
            if session_id in context._pending_sessions:
                return True
        return False

    def expect(self, digests: Sequence[str]) -> None:
        """Accept the WebSockets of pages that another worker is sending or has just sent."""
        now = time.monotonic()
        recent = {n: when for n, when in self._expected.items() if now - when <= TOKEN_SECONDS}
        self._expected = recent | dict.fromkeys(digests, now)

    def expects(self, session_id: str, made_at: float) -> bool:
        """Return whether another worker may just have sent the page of this session.

        With several workers, a page and its WebSocket often reach different ones. A draining
        worker announces its pages to the others. Because a busy one may fail to do so, pages made
        shortly before the drain are accepted too. made_at: in Unix seconds.
        """
        told = self._expected.get(digest(session_id))
        if told is not None and time.monotonic() - told <= TOKEN_SECONDS:
            return True
        if self._closed_at is None or not self._others:
            return False
        sent_before = self._closed_at - OPENING_SECONDS <= made_at <= self._closed_at + 1
        return sent_before and time.monotonic() - self._closed_since <= OPENING_SECONDS

    def headers(self, status: int) -> list[tuple[str, str]]:
        """Return the headers that send the client of a response to another pod while draining."""
        if not self.closed:
            return []
        if status != STATUS:
            return [("Connection", "close")]
        over = "Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax"
        expired = [("Set-Cookie", f"{name}=; {over}") for name in self._cookies]
        return [("Connection", "close"), ("Retry-After", RETRY_AFTER), *expired]


def may_connect(admission: Admission, subprotocols: Sequence[str], lifetime: float) -> bool:
    """Return whether a page's WebSocket may open while this worker drains.

    It may if its session exists, if its page was just sent, or if another worker may have sent the
    page. A WebSocket whose token cannot be read is left to Bokeh, which rejects it. lifetime: of
    this server's tokens, in seconds.
    """
    if not admission.closed or len(subprotocols) != 2:
        return True
    from bokeh.util.token import get_session_id, get_token_payload

    token = subprotocols[1].strip()
    try:
        session_id, payload = get_session_id(token), get_token_payload(token)
        made_at = float(payload["session_expiry"]) - lifetime
    except Exception:
        return True
    return admission.admits(session_id) or admission.expects(session_id, made_at)
