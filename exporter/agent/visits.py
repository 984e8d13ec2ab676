"""HTTP requests and WebSockets that this process is handling, on any server.

A visit is one of them. The context variable `current` leads from the code that handles a visit (and
from every task and thread that it starts) back to the visit.
"""

from __future__ import annotations

import hashlib
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import inf
from typing import Any

# A page opens its WebSocket about a second after its GET, and within half a minute on a slow
# network.
OPENING_SECONDS = 30.0
TOKEN_SECONDS = 300  # Bokeh's default lifetime of session tokens


def digest(session_id: str) -> str:
    """Return the digest of a session ID, which workers exchange because the ID gives access."""
    text = session_id.encode("utf-8", "surrogatepass")  # a token may hold any JSON string
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def snapshot(mapping: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """Return the items of a dict that the loop's thread may change at any moment."""
    while True:
        try:
            return list(mapping.items())
        except RuntimeError:  # changed size during iteration
            continue


@dataclass(slots=True, eq=False)
class Visit:
    """One HTTP request, or one WebSocket from before its handshake until its end.

    app: route of the requested application. of_library: whether that is a library's dashboard
    inside the app. port: local port of the request, 0 if unknown. pages: sessions whose pages the
    response has. connections: Bokeh's connections over this WebSocket. admitted: whether it may
    create a session while this worker drains. refused: whether it requested a session that this
    worker does not create.
    """

    path: str
    websocket: bool = False
    asgi: bool = False
    app: str = ""
    of_library: bool = False
    port: int = 0
    pages: list[str] = field(default_factory=list)
    connections: list[Any] = field(default_factory=list)
    admitted: bool = False
    refused: bool = False
    ended: bool = False


current: ContextVar[Visit | None] = ContextVar("bokeh_exporter_visit", default=None)


def ongoing() -> Visit | None:
    """Return the visit that the running code handles, or None outside of one."""
    visit = current.get()
    return visit if visit is not None and not visit.ended else None


class OpeningPages:
    """Pages that were sent completely and whose WebSockets have not opened yet.

    They are known by the session that they will request. It need not exist: Panel's
    `--reuse-sessions` responds with a new session's token, and Bokeh discards unused sessions. A
    page counts for OPENING_SECONDS. Its WebSocket is expected for longer, because the kernel may
    still deliver the page to a slow client; the launcher and the sidecar see that.
    """

    def __init__(self) -> None:
        self._sent: dict[str, tuple[str, float]] = {}

    def sent(self, session_id: str, app: str) -> None:
        """Record that the response with this session's page was sent completely."""
        self._forget_old()
        self._sent.pop(session_id, None)
        self._sent[session_id] = (app, time.monotonic())

    def sessions(self) -> list[str]:
        """Return the sessions of the pages that count."""
        return [session_id for session_id, _ in self._counted()]

    def arrived(self, session_id: str) -> bool:
        """Record that the page opened its WebSocket in this worker; True if it came from here."""
        return self._sent.pop(session_id, None) is not None

    def arrived_elsewhere(self, digests: list[str]) -> None:
        """Record that these pages opened their WebSockets in another worker."""
        known = set(digests)
        for session_id, _ in snapshot(self._sent) if known else ():
            if digest(session_id) in known:
                self._sent.pop(session_id, None)

    def __contains__(self, session_id: object) -> bool:
        """Return whether the page was sent from here and its token may still be valid."""
        _, when = self._sent.get(str(session_id), ("", -inf))
        return time.monotonic() - when < TOKEN_SECONDS

    def opening(self) -> dict[str, int]:
        """Return the number of pages that count, by application."""
        found: dict[str, int] = {}
        for _, app in self._counted():
            found[app] = found.get(app, 0) + 1
        return found

    def _counted(self) -> list[tuple[str, str]]:
        """Return session and application of the pages sent within OPENING_SECONDS."""
        since = time.monotonic() - OPENING_SECONDS
        return [(name, app) for name, (app, when) in snapshot(self._sent) if when > since]

    def _forget_old(self) -> None:
        """Drop the pages whose tokens have expired; they are kept in the order of their time."""
        until = time.monotonic() - TOKEN_SECONDS
        for session_id, (_, when) in snapshot(self._sent):
            if when > until:
                return
            self._sent.pop(session_id, None)
