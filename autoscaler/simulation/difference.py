"""How two policies differ in what they decide on the same trace."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from autoscaler.simulation.timeline import Change, Timeline, pieces


class Moment(NamedTuple):
    """A time from which the desired replicas differ, and the change that made them differ."""

    at: float
    old: int
    new: int
    change: Change | None


class Difference(NamedTuple):
    """Share of the time in which the desired replicas differ, and the first of such times."""

    share: float
    moments: tuple[Moment, ...]


def decisions(old: Timeline, new: Timeline, most: int = 3) -> Difference:
    """Return how the decisions of two runs of one trace differ. most: times to return."""
    apart = 0.0
    moments = []
    at, were_equal = old.start, True
    for seconds, (before, after) in pieces((old.desired, new.desired), old.start, old.end):
        if before != after:
            apart += seconds
            if were_equal:
                moments.append((at, int(before), int(after)))
        were_equal, at = before == after, at + seconds
    changes = {change.at: change for run in (old, new) for change in run.changes}
    found = (Moment(*moment, changes.get(moment[0])) for moment in moments)
    return Difference(apart / max(old.end - old.start, 1e-9), tuple(islice(found, most)))
