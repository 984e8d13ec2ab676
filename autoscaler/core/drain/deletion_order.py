"""Which pods a ReplicaSet deletes when it scales down: its documented order, as a comparison.

Source: Kubernetes pkg/controller/controller_utils.go `ActivePodsWithRanks.Less`, 1.36. Ages are
compared by powers of two of nanoseconds, and within one power by uid, so the order can change as
time goes by: `first_to_go` answers only what holds for a while.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cmp_to_key
from math import inf

from autoscaler.model import PodState

PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
NANOSECONDS = 1_000_000_000
# The controller acts some time after we looked: its work queue, a patch under way.
ACTS_WITHIN = 10.0


def deletion_order(
    pods: Iterable[PodState], now: float, related: Iterable[PodState] = ()
) -> list[PodState]:
    """The active pods of one ReplicaSet, first to go first, if it acts at `now` (Unix seconds).

    related: pods of other ReplicaSets of the same Deployment, which make their nodes crowded too.
    The order in which the pods are given does not matter: equal ones come by uid.
    """
    active = sorted((pod for pod in pods if pod.is_active), key=lambda pod: pod.uid)
    crowd = _crowd([*active, *related])

    def compare(one: PodState, other: PodState) -> int:
        return _compare(one, other, now, crowd)

    return sorted(active, key=cmp_to_key(compare))


def first_to_go(
    pods: Sequence[PodState],
    count: int,
    now: float,
    within: float = ACTS_WITHIN,
    related: Sequence[PodState] = (),
) -> frozenset[str] | None:
    """The uids of the `count` pods that go, whenever from `now` to `now + within` it acts.

    None where that is not determined: equal pods at the cut, an age about to pass a power of two,
    or pods of several ReplicaSets, among which the Deployment's controller shares a scale-down.
    Each deleted pod must come before each of the others, so the result is correct even though the
    order is not transitive (comparing by uid creates cycles).
    """
    active = [pod for pod in pods if pod.is_active]
    if len({pod.replica_set for pod in active}) > 1:
        return None
    crowd = _crowd([*active, *related])
    chosen = deletion_order(active, now, related)[:count]
    going = frozenset(pod.uid for pod in chosen)
    staying = [pod for pod in active if pod.uid not in going]
    for moment in _moments(active, now, within):
        for one in chosen:
            if any(_compare(one, other, moment, crowd) >= 0 for other in staying):
                return None
    return going


def _crowd(pods: Iterable[PodState]) -> Counter[str]:
    """How many active pods each node has."""
    return Counter(pod.node for pod in pods if pod.is_active)


def _moments(pods: Sequence[PodState], now: float, within: float) -> Iterator[float]:
    """The start, and each moment of the interval at which an age passes a power of two.

    There can be several of one pod: from 2 s to 12 s an age passes 2.1, 4.3 and 8.6 s.
    """
    yield now
    for pod in pods:
        for since in (pod.ready_since, pod.created_at):
            if since is not None:
                first, last = _magnitude(since, now) + 1, _magnitude(since, now + within)
                for power in range(first, last + 1):
                    yield since + 2**power / NANOSECONDS + 1e-6
    yield now + within


def _compare(one: PodState, other: PodState, now: float, crowd: Mapping[str, int]) -> int:
    """Below zero: `one` goes first. Zero: the controller's order does not tell them apart."""
    for first, second in zip(_ranks(one, crowd), _ranks(other, crowd), strict=True):
        if first != second:
            return -1 if first < second else 1
    if one.ready and other.ready:
        by_ready_time = _compare_ages(one, other, one.ready_since, other.ready_since, now)
        if by_ready_time:
            return by_ready_time
    restarts = (one.restarts, one.sidecar_restarts)
    others = (other.restarts, other.sidecar_restarts)
    if restarts != others:
        return -1 if restarts > others else 1
    return _compare_ages(one, other, one.created_at, other.created_at, now)


def _ranks(pod: PodState, crowd: Mapping[str, int]) -> tuple[float, ...]:
    """Not on a node, not running, not Ready, cheap, on a crowded node: each of them goes first."""
    return (
        float(bool(pod.node)),
        PHASES.get(pod.phase, inf),
        float(pod.ready is True),
        float(pod.deletion_cost or 0),
        -float(crowd[pod.node]),
    )


def _compare_ages(
    one: PodState, other: PodState, since: float | None, others: float | None, now: float
) -> int:
    """The younger first, by powers of two of the age; within one power the lower uid."""
    if since == others:
        return 0
    if since is None or others is None:
        return -1 if since is None else 1
    difference = _magnitude(since, now) - _magnitude(others, now)
    if difference:
        return difference
    return -1 if one.uid < other.uid else 1


def _magnitude(since: float, now: float) -> int:
    """The power of two that the age in nanoseconds has reached; -1 for none."""
    age = round((now - since) * NANOSECONDS)
    return age.bit_length() - 1 if age > 0 else -1
