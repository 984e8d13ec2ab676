"""The users of one pod in memory, second by second, and what its sidecar says of them.

A user is there from the request for a page until they have left for good. Whoever is silent or has
lost the connection is expected back for the reconnect window, and not after it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

RECONNECT = 30.0  # seconds: the product's default for daemon and launcher
RETURNS_WITHIN = RECONNECT - 1.0
STALE_AFTER = 15.0  # seconds without a pong until the sidecar calls a connection stale

# requesting: the server computes a page or sends a file. opening: the page has been sent and its
# WebSocket is not open yet. paused: the network is silent and nobody knows it yet. stale: now the
# sidecar does. broken: the connection ended. working: no user, but work that must not be ended.
State = Literal["requesting", "opening", "live", "paused", "stale", "broken", "working"]
AWAY: tuple[State, ...] = ("paused", "stale", "broken")


@dataclass(eq=False)
class Session:
    """One user, or work that one has left behind.

    until: when the state ends by itself. opens_in: seconds from the page to its WebSocket; None:
    the request is for a file. came: when. astray: through an endpoint that is none any more.
    """

    state: State
    until: float = inf
    opens_in: float | None = None
    came: float = 0.0
    astray: bool = False

    def reconnect(self) -> None:
        self.state, self.until = "live", inf

    def __str__(self) -> str:
        return f"{self.state} since it came at {self.came:g} s{', astray' * self.astray}"


@dataclass
class Users:
    """Those of one pod. signed: when somebody was last seen to leave, break off or fall silent."""

    signed: float
    sessions: list[Session] = field(default_factory=list)
    _next: float = inf  # when a state ends by itself, at the earliest

    def add(self, session: Session) -> None:
        self.sessions.append(session)
        self._next = min(self._next, session.until)

    def turn(self, session: Session, state: State, until: float) -> None:
        session.state, session.until = state, until
        self._next = min(self._next, until)

    def leave(self, session: Session, now: float) -> None:
        """For good. A page that was still under way leaves no trace."""
        if session not in self.sessions:
            return
        self.sessions.remove(session)
        if session.state not in ("requesting", "opening", "working"):
            self.signed = now

    def leave_work(self, session: Session, now: float, seconds: float) -> None:
        """The user leaves, and what they started must not be ended for so long."""
        self.turn(session, "working", now + seconds)
        self.signed = now

    def disconnect(self, session: Session, now: float) -> None:
        self.turn(session, "broken", now + RETURNS_WITHIN)
        self.signed = now

    def fall_silent(self, session: Session, now: float) -> None:
        """The network pauses: no disconnect, only no pongs any more."""
        self.turn(session, "paused", now + STALE_AFTER)

    def come_back(self, session: Session) -> None:
        if session in self.sessions and session.state in AWAY:
            session.reconnect()

    def let_time_pass(self, now: float) -> None:
        """Pages are sent and open, silence is noticed, whoever stays away is given up."""
        if now < self._next:
            return
        for session in [each for each in self.sessions if each.until <= now]:
            self._go_on(session, now)
        self._next = min((each.until for each in self.sessions), default=inf)

    def _go_on(self, session: Session, now: float) -> None:
        match session.state:
            case "requesting" if session.opens_in is not None:
                self.turn(session, "opening", now + session.opens_in)
            case "opening":
                session.reconnect()
            case "paused":
                self.turn(session, "stale", now + RETURNS_WITHIN)
                self.signed = now
            case _:
                self.sessions.remove(session)

    def empty_for(self, now: float) -> float | None:
        """Seconds since the last sign of a user; None while somebody is there."""
        if any(each.state not in ("stale", "broken") for each in self.sessions):
            return None
        return now - self.signed

    def state(self, now: float) -> dict[str, Any]:
        """What the sidecar answers to `/state`, as far as the daemon reads it."""
        count: Counter[str] = Counter(each.state for each in self.sessions)
        live = count["live"] + count["paused"]
        return {
            "ready": True,
            "quality": "exact",
            "workers": [{"ok": True}],
            "sessions": {
                "connected": live,
                "pending": 0,
                "opening": count["opening"],
                "blocked": count["working"],
            },
            "connections": {"live": live, "stale": count["stale"]},
            "requests": count["requesting"],
            "empty_for_s": self.empty_for(now),
            "last_activity_age_s": 0.0,
        }


def in_states(sessions: Iterable[Session], *states: str) -> list[Session]:
    """Those in one of the states; all of them where none is named."""
    return [each for each in sessions if not states or each.state in states]
