"""A question to an unused page: how long it waits for an answer, and when silence counts.

Silence counts only if the page has confirmed without a gap, until the time was over, that it shows
the question. A page that is asleep, frozen or disconnected confirms nothing, and is asked anew when
it is back. So is a page to which nothing could be shown for a while, because a callback of the
application held its document. The question lasts only as long as somebody repeats it: no page is
closed by a policy that has been edited or paused, or in a drain that was called off. Pure: times
are arguments, in seconds of one clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

SHOW_AGAIN_SECONDS = 5.0  # a page that reconnects gets its document anew, without the bar
GRACE_SECONDS = 1.0  # from a report of silence to the end: what is right behind it still counts
PROMPT_SECONDS = SHOW_AGAIN_SECONDS + 1.0  # in which a page confirms; a later one has been asleep
GAP_SECONDS = 3 * SHOW_AGAIN_SECONDS  # between two showings; after a longer one, time begins anew


@dataclass(slots=True)
class Question:
    """One question. number: of its last showing. shown: the last number that was confirmed.

    since: when the time began that it waits. last: when it was shown last. answered: by any use of
    the page, after which it is never over. lapses: when it is withdrawn unless it is repeated.
    """

    seconds: float
    number: int = 0
    shown: int = 0
    since: float = 0.0
    last: float | None = None
    answered: bool = False
    lapses: float = inf

    def repeat(self, now: float, lasts: float) -> None:
        """Let the question last so many seconds, because it was asked, or asked again."""
        self.lapses = now + lasts

    def is_lapsed(self, now: float) -> bool:
        """Return whether nobody wants to know any more."""
        return now >= self.lapses

    def next_showing(self, now: float) -> float:
        """Return for how many seconds the question now waits, and count this showing.

        If the last showing was not confirmed, or is long ago, the time begins anew.
        """
        gap = self.last is None or now - self.last > GAP_SECONDS
        if gap or self.shown < self.number:
            self.since = now
        self.last = now
        self.number += 1
        return max(0.0, self.since + self.seconds - now)

    def begin_anew(self) -> None:
        """Have the time begin with the next showing, because the page has another connection."""
        self.last = None

    def confirm(self, number: int) -> None:
        """Record that the page shows the question with this number."""
        self.shown = number if number == self.number else self.shown

    def is_prompt(self, now: float) -> bool:
        """Return whether a confirmation of the last showing arrives in time to count."""
        return self.last is not None and now - self.last <= PROMPT_SECONDS

    def is_over(self, now: float, number: int) -> bool:
        """Return whether a page may be closed that reports silence to the showing of a number.

        A report that arrives late is none: an answer of the user may wait behind it.
        """
        if self.last is None or self.answered or self.is_lapsed(now) or number != self.number:
            return False
        return now >= self.since + self.seconds and now - self.last <= GAP_SECONDS
