"""A question to an unused page: how long it waits for an answer, and when silence counts.

Silence counts only if the page has confirmed without a gap, until the time was over, that it shows
the question. A page that is asleep, frozen or disconnected confirms nothing, and is asked anew when
it is back. Pure: times are arguments, in seconds of one clock.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Question:
    """One question. number: of its last showing. shown: the last number that was confirmed."""

    seconds: float
    asked: float
    number: int = 0
    shown: int = 0
    since: float = 0.0
    begun: bool = False

    def next_showing(self, now: float) -> float:
        """Return for how many seconds the question now waits, and count this showing.

        If the last showing was not confirmed, the time begins anew.
        """
        if not self.begun or self.shown < self.number:
            self.begun, self.since = True, now
        self.number += 1
        return max(0.0, self.since + self.seconds - now)

    def confirm(self, number: int) -> None:
        """Record that the page shows the question with this number."""
        self.shown = number if number == self.number else self.shown

    def is_over(self, now: float, number: int) -> bool:
        """Return whether a page may be closed that reports silence to the showing of a number."""
        return number == self.number and now >= self.since + self.seconds
