"""How long the sessions of a pod have been there, and how long it will be until all have left.

A count that rises tells when a session began, one that falls that one has ended, and the exporter
tells since when the oldest is there. So how long sessions last is learned from the app's own, and
from that the time until a pod is empty, given how long its sessions have lasted already.

Ages count at the last time that any session was seen to come or leave, so nothing here changes
while nothing happens.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from math import fsum, inf, log, prod

from autoscaler.core.drain.pods import users
from autoscaler.model import Ages, PodState

# Lengths are counted between these, each 1.3 times the one before: half a minute to four weeks.
EDGES = (0.0, *(30.0 * 1.3**step for step in range(45)))
# So many of the last sessions that ended count, and fewer tell nothing.
REMEMBERED, ENOUGH = 5_000.0, 50.0
# How long sessions last is known after a day and changes slowly, seconds.
KNOWN_AFTER, KEPT = 86_400.0, 3_600.0
# A session is counted at a scrape, so it began up to so many seconds before; an exporter's age of
# it may be wrong by as few as that.
COUNTED_LATE, INEXACT = 60.0, 3.0
# A pod that says that it has more sessions than this is followed as if it had so many.
MOST = 1_000
# Two ages of which one is less than 1.1 times the other count as the same.
SAME = log(1.1)


def follow(ages: Ages | None, pods: Sequence[PodState], at: float) -> Ages:
    """Return the ages after a pass at `at`. Pods without a count keep what was known of them."""
    last = ages or Ages({}, at, (0.0,) * len(EDGES), (), at, at)
    begins, lengths = dict[str, tuple[float, ...]](), list[float]()
    for pod in pods:
        known, count = last.begins.get(pod.uid), users(pod)
        if 0 <= count < inf:
            begins[pod.uid], ended = _counted(known, pod, int(min(count, MOST)), at)
            lengths += [at - begin for begin in ended]
        elif known is not None:
            begins[pod.uid] = known
    if begins == last.begins:
        return last
    counts = _with_ended(last.ended, lengths)
    after = last._replace(begins=begins, at=at, ended=counts)
    if at - last.since < KNOWN_AFTER or at - last.learned_at < KEPT or sum(counts) < ENOUGH:
        return after
    return after._replace(lengths=counts, learned_at=at)


def _counted(
    known: tuple[float, ...] | None, pod: PodState, count: int, at: float
) -> tuple[tuple[float, ...], list[float]]:
    """Return when the sessions began that are on a pod now, and those that have left.

    Nobody knows which of those has left that are not the oldest; the one after it, we assume.
    """
    oldest = pod.oldest_session.value if pod.oldest_session and count else None
    if known is None:
        return _spread(at if oldest is None else min(oldest, at), at, count), []
    if len(known) == count and (oldest is None or abs(known[0] - oldest) <= INEXACT):
        return known, []
    least = -inf if oldest is None else oldest - INEXACT
    ended = [begin for begin in known if begin < least]
    begins = [begin for begin in known if begin >= least]
    if oldest is not None and (not begins or begins[0] > oldest + INEXACT):
        begins[: bool(begins) and begins[0] <= oldest + COUNTED_LATE] = [float(oldest)]
    while len(begins) > count:
        ended.append(begins.pop(min(1, count)))
    return (*begins, *(at for _ in range(count - len(begins)))), ended


def _spread(first: float, last: float, count: int) -> tuple[float, ...]:
    """Return so many times from the first to the last, of which nothing else is known."""
    return tuple(first + (last - first) * each / max(1, count - 1) for each in range(count))


def _with_ended(counts: tuple[float, ...], lengths: Iterable[float]) -> tuple[float, ...]:
    for length in lengths:
        kept = [count * (1.0 - 1.0 / REMEMBERED) for count in counts]
        kept[bisect_right(EDGES, max(0.0, length)) - 1] += 1.0
        counts = tuple(kept)
    return counts


def time_to_empty(ages: Ages, uid: str) -> float:
    """Return the expected seconds until every session of the pod has ended.

    ages: with known lengths.
    """
    rows = [
        _chances_to_end(ages.lengths, round(log(max(0.0, ages.at - begin) + 60.0) / SAME))
        for begin in ages.begins.get(uid, ())
    ]
    if not rows:
        return 0.0
    some_left = [1.0 - prod(column) for column in zip(*rows, strict=True)]
    return fsum(
        (end - start) * (one + other) / 2.0
        for (start, end), (one, other) in zip(pairwise(EDGES), pairwise(some_left), strict=True)
    )


@lru_cache(maxsize=8_192)
def _chances_to_end(lengths: tuple[float, ...], step: int) -> tuple[float, ...]:
    """Return the chances that a session of an age has ended after each of the seconds of EDGES.

    step: the age, in steps. Where hardly a session has lasted as long, it lasts as long again.
    """
    age = max(0.0, 1.1**step - 60.0)
    longer = tuple(accumulate(reversed(lengths)))[::-1]
    present = _interpolated(longer, age)
    if present < 0.5:
        return tuple(float(each >= age) for each in EDGES)
    return tuple(1.0 - _interpolated(longer, age + each) / present for each in EDGES)


def _interpolated(longer: Sequence[float], age: float) -> float:
    """Return how many sessions lasted longer. longer: than each of EDGES."""
    step = bisect_right(EDGES, age) - 1
    if step + 1 == len(EDGES):
        return 0.0
    share = (age - EDGES[step]) / (EDGES[step + 1] - EDGES[step])
    return longer[step] + share * (longer[step + 1] - longer[step])
