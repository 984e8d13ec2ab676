"""Which decisions may not rest on a cache: those at whose end a pod, and its sessions, may end."""

from __future__ import annotations

from autoscaler.core.drain.pods import is_marked
from autoscaler.model import Cause, Decision, Observation


def needs_fresh_read(decision: Decision, observed: Observation) -> bool:
    """Whether the target must be read anew, and the decision made again by what is there now.

    So it is for a cordon for removal, a mark and a scale-down, and in every pass while a pod is
    marked: what a scale-down then waits for must have been read in each of them. Not for a
    scale-up or an uncordon, nor for waiting until users have left.
    """
    if observed.confirmed_at is None:
        return False
    if decision.desired < decision.current or any(map(is_marked, observed.active)):
        return True
    marks = decision.drain.marks if decision.drain else ()
    return any(
        new.cost is not None
        or (not new.routable and new.cordon is not None and new.cordon.cause is Cause.SCALE_DOWN)
        for _, new in marks
    )
