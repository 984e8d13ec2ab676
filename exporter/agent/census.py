"""The sessions and connections of this process, counted in Bokeh's own classes.

Every server of Bokeh sessions (Tornado, Starlette, Channels, plain ASGI) creates an
`ApplicationContext` for each application, and for each WebSocket a `ServerConnection` that
subscribes to a `ServerSession`. So they are counted there. Only events of this process count: a
forked child begins with an empty census.

Private attributes are read because Bokeh has no public ones for them, or slower ones. Tests on real
servers check them against the Bokeh releases.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from . import hinting
from .progress import Flow, flow_of, flows
from .visits import OPENING_SECONDS, Visit, snapshot

__all__ = ["OPENING_SECONDS", "STALE_PINGS", "AppCensus", "Census", "Mark", "mark_of"]

# Bokeh pings every 37 s and counts the pings, but does not check for answers. A healthy client is
# one behind (ping 15 sent and counted, pong 14 latest), or two until its next pong arrives. Three
# means two unanswered pings: the client was gone or frozen for at least one keep-alive interval.
STALE_PINGS = 3
LOOK_SECONDS = 5.0


@dataclass(slots=True)
class Mark:
    """The agent's data on a session, attached to it.

    created, ready: when its creation began and ended. opened: when a client last connected. used:
    when its user last did something. changed: when its application last changed its document.
    loop: in which it lives. notices: those in its page, by kind.
    """

    app: str
    created: float = field(default_factory=time.monotonic)
    ready: float = field(default_factory=time.monotonic)
    connected: bool = False
    process: int = field(default_factory=os.getpid)
    opened: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.monotonic)
    changed: float = field(default_factory=time.monotonic)
    loop: Any = None
    notices: dict[str, Any] = field(default_factory=dict)


def mark_of(session: Any) -> Mark | None:
    """Return the mark of a session, or None if the agent did not see its creation."""
    return getattr(session, "_bokeh_exporter_mark", None)


@dataclass(slots=True)
class AppCensus:
    """The sessions and connections of one application in one worker; ages in seconds.

    busy: sessions in which the application works, by its hint. may_close, costed: connected ones
    with that hint. costs: the seats that the costed ones take.
    """

    connected: int = 0
    lingering: int = 0
    blocked: int = 0
    pending: int = 0
    opening: int = 0
    awaited: int = 0
    live: int = 0
    stale: int = 0
    oldest_age_s: float = 0.0
    busy: int = 0
    may_close: int = 0
    costed: int = 0
    costs: float = 0.0


@dataclass(slots=True)
class OpenConnection:
    """A connection's application and session, and the visit of its WebSocket, if known."""

    app: str
    session: Any
    visit: Visit | None


def is_library_app(context: Any) -> bool:
    """Return whether an application belongs to a library inside the app and not to the app.

    A viewer of Dask's dashboard is not a user, and its 50 pages would multiply the series by 50.
    """
    known = context.__dict__.get("_bokeh_exporter_foreign")
    if known is None:
        functions = [getattr(handler, "_func", None) for handler in context.application.handlers]
        modules = [getattr(getattr(f, "func", f), "__module__", None) for f in functions]
        known = any(str(module).startswith("distributed.") for module in modules)
        context._bokeh_exporter_foreign = known
    return bool(known)


class Census:
    """Counts sessions and connections. The serving threads write, and the agent's thread reads."""

    def __init__(self, went_stale: Callable[[], None]) -> None:
        self._went_stale = went_stale
        self._contexts: weakref.WeakSet[Any] = weakref.WeakSet()
        self._open: dict[Any, OpenConnection] = {}
        self._sessions: dict[str, dict[Any, int]] = {}  # by application: connections of each
        self._stale: set[Any] = set()
        self._flows: dict[Any, Flow | None] = {}  # of connections with an unanswered ping
        self._looked = 0.0

    def adopt(self, context: Any) -> bool:
        """Count the sessions of this application from now on. Returns False if it was counted."""
        if context in self._contexts:
            return False
        self._sessions.setdefault(route_of(context), {})
        self._contexts.add(context)
        return True

    def subscribed(self, session: Any, connection: Any, visit: Visit | None) -> str:
        """Count a new connection, and return the route of its application."""
        app = route_of(connection._application_context)
        sessions = self._sessions.setdefault(app, {})
        if connection not in self._open:
            self._open[connection] = OpenConnection(app, session, visit)
            sessions[session] = sessions.get(session, 0) + 1
        return app

    def ended(self, connection: Any) -> OpenConnection | None:
        """Stop counting a connection, and return its data, or None if it had ended before."""
        known = self._open.pop(connection, None)
        if known is None:
            return None
        self._stale.discard(connection)
        sessions = self._sessions[known.app]
        left = sessions.get(known.session, 1) - 1
        if left > 0:
            sessions[known.session] = left
        else:
            sessions.pop(known.session, None)
        return known

    def abandoned(self, session: Any) -> list[Any]:
        """Return the connections of a destroyed session that no WebSocket is known to carry."""
        if not session._subscribed_connections:
            return []
        mine = [(c, known) for c, known in snapshot(self._open) if known.session is session]
        return [c for c, known in mine if known.visit is None or known.visit.ended]

    def look(self) -> None:
        """Find stale connections: their clients left two pings unanswered, and no bytes flow.

        Pings are 37 s apart, so checking every 5 s misses none. Under ASGI no connection is stale,
        because there the server handles the pings.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        behind = {c: pings_behind(c) for c, _ in snapshot(self._open)}
        before = self._flows
        self._flows = {c: flow_of(c) for c, pings in behind.items() if pings >= STALE_PINGS - 1}
        silent = (c for c, pings in behind.items() if pings >= STALE_PINGS)
        found = {c for c in silent if not flows(before.get(c), self._flows[c])}
        if found - self._stale:
            self._went_stale()
        self._stale = found

    def count(self) -> dict[str, AppCensus]:
        """Count sessions and connections by application route.

        Looks at no connection that is not stale, and checks only sessions without a live one. That
        matters: 2,500 of each take several times as long if they are not in the CPU's caches.
        """
        self.look()
        known = (self._open.get(connection) for connection in members(self._stale))
        stale = [each for each in known if each is not None]
        silent = Counter(each.app for each in stale)
        dead = self._dead(stale)
        found: dict[str, AppCensus] = {}
        for app, sessions in snapshot(self._sessions):
            connections = [count for _, count in snapshot(sessions)]
            found[app] = AppCensus(
                live=sum(connections) - silent[app],
                stale=silent[app],
                connected=len(connections) - sum(session in sessions for session in dead),
            )
        for context in members(self._contexts):
            app = route_of(context)
            _count_sessions(context, self._sessions[app], dead, found[app])
        self._count_hints(found, dead)
        return found

    def _count_hints(self, found: dict[str, AppCensus], dead: set[Any]) -> None:
        """Count the sessions with hints of their applications."""
        for session, hints in hinting.hinted():
            mark = mark_of(session)
            if mark is None or mark.app not in found or not _is_here(session):
                continue
            census = found[mark.app]
            census.busy += hints.is_busy
            if session in self._sessions[mark.app] and session not in dead:
                census.may_close += hints.may_close
                census.costed += hints.seats is not None
                census.costs += hints.seats or 0.0

    def _dead(self, stale: list[OpenConnection]) -> set[Any]:
        """Return the sessions of which all connections are stale."""
        silent = Counter(known.session for known in stale)
        app_of = {known.session: known.app for known in stale}
        return {
            session
            for session, count in silent.items()
            if count >= self._sessions[app_of[session]].get(session, 0)
        }


def route_of(context: Any) -> str:
    """Return an application's route with a leading slash; Django's may be a pattern without it."""
    url = context.url or "/"
    return url if url[0] == "/" else f"/{url.strip('^$/')}"


def pings_behind(connection: Any) -> int:
    """Return how many pongs are missing; always 0 under ASGI, where the server sends the pings."""
    try:
        return int(connection._ping_count - connection._socket.latest_pong)
    except AttributeError:
        return 0


def members(changing: Iterable[Any]) -> list[Any]:
    """Return the members of a set that the loop's thread may change at any moment."""
    while True:
        try:
            return list(changing)
        except RuntimeError:  # changed size during iteration
            continue


def _count_sessions(
    context: Any, connected: dict[Any, int], dead: set[Any], census: AppCensus
) -> None:
    """Add the sessions without a live connection, and the age of the oldest one with it.

    Bokeh keeps sessions in the order of their creation, so the first connected one is the oldest.
    """
    sessions = [session for _, session in snapshot(context._sessions)]
    mark = mark_of(next((s for s in sessions if s in connected and s not in dead), None))
    if mark is not None:
        census.oldest_age_s = max(census.oldest_age_s, time.monotonic() - mark.created)
    alone = [s for s in sessions if s not in connected or s in dead]
    for session in filter(_is_here, alone):
        census.awaited += _is_awaited(session)
        if is_blocked(session):
            census.blocked += 1
        else:
            census.lingering += 1


def _is_here(session: Any) -> bool:
    """Return whether a session exists in this process; bokeh-django keeps destroyed ones."""
    mark = mark_of(session)
    return not session.destroyed and (mark is None or mark.process == os.getpid())


def _is_awaited(session: Any) -> bool:
    """Return whether a session has had no client, and its page may still be loading."""
    mark = mark_of(session)
    if mark is None or mark.connected:
        return False
    return time.monotonic() - mark.ready <= OPENING_SECONDS


def is_blocked(session: Any, locks: int = 0) -> bool:
    """Return whether the application keeps a session without clients because it is working in it.

    locks: how many of the blocks are the agent's own, which locks the document. Panel's
    `--reuse-sessions` blocks the expiration of one session per page forever; that session is a
    cache and has no work.
    """
    try:
        held = session._document.callbacks.hold_value is not None
    except AttributeError:  # it was destroyed in the meantime
        return False
    blocks = session.expiration_blocked_count
    return held or (blocks > locks and blocks > locks + (session in _kept_for_reuse()))


def _kept_for_reuse() -> list[Any]:
    panel = sys.modules.get("panel.io.state")
    state = getattr(panel, "state", None)
    return list(getattr(state, "_sessions", {}).values())
