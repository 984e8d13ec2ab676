"""A notice in one page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .notice import Notice
from .notice_bar import Bar
from .question import SHOW_AGAIN_SECONDS, Question

LONGEST_PAUSE = 60.0  # between two showings that a page does not confirm


@dataclass(slots=True)
class Shown:
    """A notice in one page, until the user closes or answers it (`seen`), or the page is closed.

    number: of its last showing. first: the number before its first one; earlier answers of the page
    were to another notice. until: when that comes which is announced. connections: those of the
    session when it was shown last. rests_until: when it is shown to the same page again, in whose
    console each showing is an error if its Content-Security-Policy forbids scripts.
    """

    notice: Notice
    bar: Bar
    until: float
    question: Question | None = None
    number: int = 0
    first: int = 0
    due: float = 0.0
    busy: bool = False
    closed: bool = False
    pause: float = SHOW_AGAIN_SECONDS
    rests_until: float = 0.0
    connections: set[Any] = field(default_factory=set)
    tasks: set[Any] = field(default_factory=set)

    @property
    def seen(self) -> bool:
        """Whether there is nothing left to show."""
        return self.closed or (self.question is not None and self.question.answered)

    def is_due(self, session: Any, now: float) -> bool:
        """Return whether the page is to be shown it now, for the first time or again."""
        if self.seen or self.busy or now < self.due:
            return False
        is_lost = self.connections != session._subscribed_connections
        return is_lost or not self.bar.hangs_in(session.document) or now >= self.rests_until

    def pauses(self, now: float) -> None:
        """Show it again after twice the time of the last pause, unless the page needs it before."""
        self.rests_until = now + self.pause
        self.pause = min(2 * self.pause, LONGEST_PAUSE)

    def confirmed(self) -> None:
        """Show it again soon, because the page has to confirm a question all the time."""
        self.rests_until, self.pause = 0.0, SHOW_AGAIN_SECONDS

    def is_over(self, now: float, number: int) -> bool:
        """Return whether a page may be closed that reports silence to this showing of it."""
        return not self.closed and self.question is not None and self.question.is_over(now, number)


def following(last: Shown | None, notice: Notice, until: float) -> Shown:
    """Return a notice that takes the place of the last one of its kind, in the same bar."""
    bar, number = (Bar(), 0) if last is None else (last.bar, last.number)
    return Shown(notice, bar, until, None, number, number)
