"""What one row of the fault matrix says. Every cell of it is asserted by `tests.faults.acting`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Shown(NamedTuple):
    """A metric of the daemon while the fault lasts. series: as PromQL selects it.

    how: "increases", "is N", "is above N" or "is below N".
    """

    series: str
    how: str

    def holds(self, before: float | None, after: float | None) -> bool:
        """Whether it is so. before, after: the value before the fault and in it."""
        if after is None:
            return False
        if self.how == "increases":
            return after > (before or 0.0)
        words, _, number = self.how.rpartition(" ")
        if words == "is above":
            return after > float(number)
        return after < float(number) if words == "is below" else after == float(number)


@dataclass(frozen=True)
class Row:
    """key: what a test is called. fault: in words.

    does: what the daemon does meanwhile; a key of `acting.DOES`. reason: a `Reason`, or the kind of
    a failure. event: the reason of the Event; "" for none. alerts: all that fire if the fault
    lasts. recovers: a key of `acting.RECOVERS`. is_long: whether its test takes most of a minute.
    """

    key: str
    fault: str
    does: str
    reason: str
    event: str
    metric: Shown
    alerts: tuple[str, ...]
    recovers: str
    is_long: bool = False
