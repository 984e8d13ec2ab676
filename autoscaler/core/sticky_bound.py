"""The fewest pods that hold the sessions of a target if none is moved: its sticky bound. Pure.

Each session takes the fullest pod with a free seat and stays there; a pod starts at once and ends
as soon as it is empty. A simulation knows which session ends when. A daemon sees that a real pod
has fewer of them than before, and whether its oldest one is another now. So it follows where the
sessions of each real pod would be, and where nobody knows which one of them has ended, the time
decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop
from itertools import chain, count
from typing import NamedTuple

from autoscaler.model import BEGINNING_STEP, PodState

# Sessions of a target, beyond which none is followed: a count may be wrong by any factor.
MOST = 20_000
# Multiples of it spread evenly between whole numbers.
GOLDEN = 0.6180339887498949


class Placed(NamedTuple):
    """The sessions of one real pod: for each the number of its pod, in the order they came.

    oldest: when the first of them began, in Unix seconds, if the exporter tells it.
    """

    pods: tuple[int, ...] = ()
    oldest: int | None = None


NOBODY = Placed()
# By the uid of the real pod.
Packed = Mapping[str, Placed]


def fullness(sessions: int, number: int) -> tuple[int, int]:
    """Return what a new session chooses by: the fullest pod, and of these the first."""
    return sessions, -number


def count_sessions(packed: Packed) -> int:
    """Return how many sessions there are."""
    return sum(len(placed.pods) for placed in packed.values())


def count_pods(packed: Packed) -> int:
    """Return how many pods hold them."""
    return len(set(_all(packed)))


def follow(before: Packed | None, pods: Iterable[PodState], seats: int, at: float) -> Packed | None:
    """Return where the sessions are after a pass; those of a pod without data are where they were.

    before: where they were after the last one. seats: of each pod. None: there are more than MOST.
    """
    seen = {pod.uid: pod for pod in pods if pod.is_billed}
    if sum(pod.sessions.value for pod in seen.values() if pod.sessions is not None) > MOST:
        return None
    before = before or {}
    packed = {uid: _left(before.get(uid, NOBODY), pod, at) for uid, pod in seen.items()}
    came = {
        uid: pod.sessions.value - len(packed[uid].pods)
        for uid, pod in seen.items()
        if pod.sessions is not None
    }
    if not any(came.values()):
        return packed
    taken = _free_seats(Counter(_all(packed)), seats)
    for uid, sessions in came.items():
        here = packed[uid]
        numbers = (next(taken) for _ in range(sessions))
        packed[uid] = here._replace(pods=(*here.pods, *numbers))
    return packed


def _all(packed: Packed) -> Iterable[int]:
    return chain.from_iterable(placed.pods for placed in packed.values())


def _left(before: Placed, pod: PodState, at: float) -> Placed:
    """Return who is left of the sessions of a real pod."""
    if pod.sessions is None:
        return before
    oldest = pod.oldest_session.value if pod.oldest_session is not None else None
    if len(before.pods) <= pod.sessions.value and oldest == before.oldest:
        return before
    pods = list(before.pods)
    if oldest is not None and before.oldest is not None:
        # The first one has ended if another is the oldest, also where as many are there as before.
        del pods[: oldest > before.oldest + BEGINNING_STEP]
    while len(pods) > pod.sessions.value:
        first = oldest is not None and len(pods) > 1  # it is still there
        del pods[first + int(at * GOLDEN % 1.0 * (len(pods) - first))]
    return Placed(tuple(pods), oldest)


def _free_seats(fleet: Mapping[int, int], seats: int) -> Iterator[int]:
    """Yield the number of the pod that the next session takes, and the next, for as long as asked.

    fleet: the sessions of each pod by its number.
    """
    unused = (number for number in count() if number not in fleet)
    waiting = [_order(taken, number) for number, taken in fleet.items() if taken < seats]
    heapify(waiting)
    while True:
        number = heappop(waiting)[1] if waiting else next(unused)
        for _ in range(fleet.get(number, 0), seats):
            yield number


def _order(sessions: int, number: int) -> tuple[int, int]:
    """Return what sorts the pod that `fullness` prefers before the others."""
    taken, first = fullness(sessions, number)
    return -taken, -first
