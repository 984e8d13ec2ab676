"""Which time the daemon goes by: its machine's, or the API server's where the two differ.

Times that pods carry were written by other daemons, and by kubelets. All of them hear the API
server, so a daemon that goes by its time agrees with them whatever its own machine shows. Every
answer says when it was made, in whole seconds; what is certain of it is kept, and nothing else.

All clocks are told as seconds ahead of this process's steady clock, which is never set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# Below, the answers' whole seconds and their way could be all; and no rule here needs it better.
WORTH_CORRECTING = 3.0
# Once corrected, the machine's clock counts again when it is no farther away than that.
AGREES_WITHIN = 2.0
STAMPED_TO = 1.0


class OffsetBounds(NamedTuple):
    """Between which two values the API server's clock certainly is."""

    least: float
    most: float

    def ahead(self, clock: float) -> float:
        """Seconds by which a clock certainly is ahead of it; below 0: behind, 0: it may agree."""
        return clock - min(max(clock, self.least), self.most)

    def farthest(self, clock: float) -> float:
        """Seconds by which a clock may differ from it at most."""
        return max(clock - self.least, self.most - clock)


def bounds_of(sent: float, received: float, stamp: float) -> OffsetBounds:
    """What one answer tells. sent, received: by the steady clock. stamp: its time, rounded down."""
    return OffsetBounds(stamp - received, stamp + STAMPED_TO - sent)


def common(answers: Sequence[OffsetBounds]) -> OffsetBounds:
    """What several answers tell together; API servers that disagree may all be right."""
    least, most = max(each.least for each in answers), min(each.most for each in answers)
    return OffsetBounds(min(least, most), max(least, most))


def follow(
    present: float, machine: float, server: OffsetBounds | None, *, corrected: bool
) -> tuple[float, bool]:
    """The clock to go by from now on, and whether it is other than the machine's.

    present: the one that was gone by. A correction is made when the machine's clock certainly is
    wrong, and taken back when it certainly is right, so that neither rounding nor slow answers move
    a clock to and fro.
    """
    if server is None or server.farthest(machine) < AGREES_WITHIN:
        return machine, False
    if not corrected and abs(server.ahead(machine)) < WORTH_CORRECTING:
        return machine, False
    off = server.ahead(present)
    return present - (off if abs(off) >= WORTH_CORRECTING else 0.0), True
