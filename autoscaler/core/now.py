"""The time of a pass, which notes for how long the answers to questions about it hold."""

from __future__ import annotations

from math import inf

# Rules subtract times in different orders, so one may change its answer a rounding error earlier.
MARGIN = 0.001


class Now:
    """The time of a pass, in Unix seconds.

    Every rule that depends on the time asks one of these questions instead of comparing times
    itself. While the answer is no, the moment at which it becomes yes is noted. So it is known how
    long a decision holds, and no rule about time is written down twice.

    holds_until: if nothing changes but ages, every answer is the same at each time before this one.
    """

    __slots__ = ("at", "holds_until")

    def __init__(self, at: float) -> None:
        self.at = at
        self.holds_until = inf

    def has_passed(self, seconds: float, since: float) -> bool:
        """Whether it is `seconds` or more since the time `since`."""
        return self.has_lasted(self.at - since, seconds)

    def has_lasted(self, age: float, seconds: float) -> bool:
        """Whether what is `age` seconds old now is `seconds` old, or older."""
        if age >= seconds:
            return True
        self.changes_at(self.at + seconds - age)
        return False

    def is_before(self, moment: float) -> bool:
        """Whether a moment is still to come."""
        if self.at >= moment:
            return False
        self.changes_at(moment)
        return True

    def changes_at(self, moment: float) -> None:
        """Note a moment to come at which some answer may change."""
        if moment - MARGIN < self.holds_until:
            self.holds_until = moment - MARGIN

    def holds_only_now(self) -> None:
        """Note that an answer may be another one at any later time."""
        self.holds_until = self.at
