"""How long the sessions of a pod have been there, and what that says about when it will be empty.

A count that rises tells when a session began, and the exporter tells since when the oldest one is
there. Which one has left when a count falls, nobody tells; of those that are not the oldest, the
one that has been there the longest, we assume. An age that is wrong only changes which pod is
drained first.

Ages count at the last time that any session was seen to come or leave, so nothing here changes
while nothing happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from autoscaler.core.drain.pods import users
from autoscaler.model import Ages, PodState

# Seconds by which the beginning of the same session may differ from scrape to scrape: exporters
# tell an age, and what is made of it is rounded to ten seconds.
INEXACT = 15.0
# A pod that says that it has more sessions than this is followed as if it had so many.
MOST = 1_000


def follow(ages: Ages | None, pods: Sequence[PodState], at: float) -> Ages:
    """Return the ages after a pass at `at`. Pods without a count keep what was known of them."""
    last = ages or Ages({}, at)
    begins = dict[str, tuple[float, ...]]()
    for pod in pods:
        known, count = last.begins.get(pod.uid), users(pod)
        if 0 <= count < inf:
            begins[pod.uid] = _counted(known, pod, int(min(count, MOST)), at)
        elif known is not None:
            begins[pod.uid] = known
    return last if begins == last.begins else Ages(begins, at)


def _counted(
    known: tuple[float, ...] | None, pod: PodState, count: int, at: float
) -> tuple[float, ...]:
    """Return when the sessions began that are on a pod now, the oldest first."""
    oldest = None if pod.oldest_session is None else float(pod.oldest_session.value)
    if known is None:
        return _spread(at if oldest is None else oldest, at, count)
    left = max(0, len(known) - count)
    kept = (*known[: min(1, count)], *known[1 + left :])
    begins = (*kept, *[max((at, *kept[-1:]))] * (count - len(kept)))
    if oldest is None or not begins or abs(begins[0] - oldest) <= INEXACT:
        return begins
    return (oldest, *(max(begin, oldest) for begin in begins[1:]))


def _spread(first: float, last: float, count: int) -> tuple[float, ...]:
    """Return so many times from the first to the last, of which nothing else is known."""
    last = max(first, last)
    return tuple(first + (last - first) * each / max(1, count - 1) for each in range(count))


def weighted_sessions(begins: Sequence[float], at: float, stay: float) -> float:
    """Return the number of sessions, in which each counts by how long it is expected to stay.

    begins: since when they are there. stay: how long one lasts on average, in seconds. One that has
    just begun counts twice as much as one that has been there for long: so it is where lengths have
    a gamma distribution of the shape 2, of which most lengths are near the average.
    """
    return sum(1.0 + stay / (stay + 2.0 * max(0.0, at - begin)) for begin in begins)
