"""How many sessions a pod can hold: estimated from what its sessions cost, and followed slowly.

Of two limits the lower one decides: the number of sessions with which the event loop would be busy
for 70 % of the time, and that with which memory would reach 80 % of its limit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from math import ceil, floor, inf
from statistics import median
from typing import NamedTuple

from autoscaler.core.now import Now
from autoscaler.model import Line, PodLoad, SeatEstimate, Seats
from autoscaler.policy.fields import MAX_REPLICAS
from autoscaler.policy.metrics import LearnedSeats
from autoscaler.units import counted

# Shares of the time, and of the memory limit, that a pod with all seats taken shall not exceed.
BUSY, MEMORY = 0.7, 0.8
# Seconds by which 5 of 100 timers may be late in a pod with all seats taken.
LATE = 2.0
# The share of what was seen that an estimate covers.
COVERED = 0.9
# A pod tells what memory its sessions need while it has at least this share of the most sessions
# that it ever had, because servers rarely release memory.
AT_PEAK = 0.95
# Pods tell what a session costs while they have at least this share of the fullest ones' sessions.
FULLER = 0.5
# Seconds whose loads of all pods are taken together, because one hour's users click more than those
# of another.
TOGETHER = 3600.0
# Session-hours, and loads, from which a number is estimated.
LEAST_HOURS, LEAST_LOADS = 6.0, 12
# An estimate raises the seats to at most so many times what a pod has been seen to hold.
BEYOND = 2.0
# The share by which the next whole number may be more, and is taken: a measurement is no better.
NEARLY = 0.02
# Seconds after a change of the seats before they are lowered, or raised. What pods cost is read
# once an hour, and a cost that grows faster than the sessions must be seen before the next raise.
PACE, RISE = 600.0, 3600.0
# The share by which one change changes them, and the share that makes no difference.
STEP, SAME = 0.1, 0.05


class _Cost(NamedTuple):
    """What a pod with so many sessions cost at one time."""

    at: float
    sessions: float
    cost: float


def of_image(
    pods: Mapping[str, Sequence[PodLoad]], sets: Collection[str] = ()
) -> dict[str, Sequence[PodLoad]]:
    """Return the pods of these ReplicaSets, which run one image.

    sets: their names. Where none is given, it is the ReplicaSet whose pod began last.
    """
    if not sets and pods:
        last = max(pods, key=lambda name: pods[name][0].at if pods[name] else 0.0)
        return {name: loads for name, loads in pods.items() if _stem(name) == _stem(last)}
    # The API server cuts long names so that the suffix of the pod fits.
    stems = {f"{name}-"[:58] for name in sets}
    return {name: loads for name, loads in pods.items() if _stem(name) in stems}


def _stem(pod: str) -> str:
    """Return the name of a pod without its five random characters."""
    return pod[:-5]


def estimate(pods: Mapping[str, Sequence[PodLoad]], step: float) -> SeatEstimate:
    """Return how many sessions a pod can hold, by the loads of pods of one image, by name.

    The loads of a pod ascend in time, `step` seconds apart. It covers nine tenths of what was seen,
    so that neither an hour of one greedy user nor a night of unused pages decides. It rounds down,
    but for a number that is within a fiftieth of the next one. The memory limit is that of the last
    hour, because it may have been changed for pods of the same image.
    """
    loads = [load for each in pods.values() for load in each]
    used = [load for load in loads if load.sessions > 0]
    hours = sum(load.sessions for load in used) * step / 3600
    if hours < LEAST_HOURS or len(used) < LEAST_LOADS:
        known = f"{hours:.1f} session-hours are known, and {LEAST_HOURS:.0f} are needed"
        return SeatEstimate(None, known, hours=hours)
    most = _quantile([(load.sessions, 1.0) for load in used], COVERED)
    busy = _line([_Cost(x.at, x.sessions, x.busy) for x in loads if x.busy is not None], most)
    peaks = [load for each in pods.values() for load in _peaks(each)]
    memory = _line([_Cost(x.at, x.sessions, x.memory) for x in peaks if x.memory is not None], most)
    limit = _limit(loads)
    limits = _limits(busy, memory, limit, used)
    if not limits:
        return SeatEstimate(None, "pods tell neither how busy they are nor a memory limit")
    why = min(limits, key=lambda each: limits[each])
    number = min(limits[why], MAX_REPLICAS)
    seats = max(1, min(ceil(number), floor((1 + NEARLY) * number)))
    return SeatEstimate(seats, why, busy, memory, limit, most, hours)


def _limit(loads: Sequence[PodLoad]) -> float | None:
    """Return the lowest memory limit of pods in the last hour in which one is known."""
    known = [load for load in loads if load.limit]
    last = max((load.at for load in known), default=0.0)
    return min(
        (load.limit for load in known if load.limit and last - load.at < TOGETHER), default=None
    )


def _limits(
    busy: Line | None, memory: Line | None, limit: float | None, used: Sequence[PodLoad]
) -> dict[str, float]:
    """Return the numbers of sessions that a pod can hold, by the limit that would be reached."""
    found = {}
    if busy is not None:
        found[f"the event loop is busy for {BUSY:.0%} of the time"] = busy.sessions_at(BUSY)
    if memory is not None and limit is not None:
        found[f"memory is at {MEMORY:.0%} of its limit"] = memory.sessions_at(MEMORY * limit)
    in_time = _in_time(used)
    if found and in_time < inf:
        found[f"timers of the event loop are more than {LATE:.0f} s late beyond that"] = in_time
    return found


def _line(costs: Sequence[_Cost], most: float) -> Line | None:
    """Return what pods cost; None if too few with many sessions are known."""
    fuller = sorted(each for each in costs if each.sessions >= FULLER * most)
    if len(fuller) < LEAST_LOADS:
        return None
    base = _base(costs, most)
    hours: dict[int, list[_Cost]] = {}
    for each in fuller:
        hours.setdefault(int(each.at // TOGETHER), []).append(each)
    shares = []
    for hour in hours.values():
        sessions = sum(each.sessions for each in hour)
        shares.append((sum(max(0.0, each.cost - base) for each in hour) / sessions, sessions))
    return Line(base, _quantile(shares, COVERED))


def _base(costs: Sequence[_Cost], most: float) -> float:
    """Return what a pod costs without sessions; 0 if all pods have about as many sessions.

    It is where the middle of all lines through two numbers of sessions begins (Theil and Sen), and
    never more than a pod has cost, so that what each session costs is not too little.
    """
    by_number: dict[int, list[float]] = {}
    for each in costs:
        by_number.setdefault(round(each.sessions), []).append(each.cost)
    middles = [(number, median(found)) for number, found in sorted(by_number.items())]
    slopes = [
        (more[1] - less[1]) / (more[0] - less[0])
        for less, more in combinations(middles, 2)
        if more[0] - less[0] >= most / 4
    ]
    if not slopes:
        return 0.0
    slope = max(0.0, median(slopes))
    base = median(middle - slope * number for number, middle in middles)
    return min(max(0.0, base), *(middle for _, middle in middles))


def _peaks(loads: Sequence[PodLoad]) -> Iterator[PodLoad]:
    """Yield the loads of a pod while it had nearly as many sessions as it had ever had."""
    highest = 0.0
    for load in loads:
        highest = max(highest, load.sessions)
        if load.sessions >= AT_PEAK * highest:
            yield load


def _in_time(used: Sequence[PodLoad]) -> float:
    """Return the number of sessions up to which timers are in time; inf if they always are.

    The fewest loads contradict it: late ones of pods with at most as many sessions, and ones in
    time of pods with more. So an hour in which a node had no CPU left does not decide.
    """
    by_number: dict[int, int] = {}  # how many more loads were late than in time
    for load in used:
        if load.lag is not None:
            number = round(load.sessions)
            by_number[number] = by_number.get(number, 0) + (1 if load.lag > LATE else -1)
    found, most, more_late = inf, 1, 0
    numbers = sorted(by_number)
    for index in reversed(range(len(numbers))):
        more_late += by_number[numbers[index]]
        if more_late > most:
            most, found = more_late, numbers[index - 1] if index else 1
    return found


def _quantile(weighted: Sequence[tuple[float, float]], share: float) -> float:
    """Return the value that a share of all weight does not exceed."""
    ordered = sorted(weighted)
    left = share * sum(weight for _, weight in ordered)
    for value, weight in ordered:
        left -= weight
        if left <= 0:
            return value
    return ordered[-1][0]


def is_limited(found: SeatEstimate) -> bool:
    """Return whether a number of sessions is known from which on a pod would do worse."""
    return found.seats is not None and found.seats < MAX_REPLICAS


def reason(found: SeatEstimate) -> str:
    """Return in words what limits the sessions of a pod, or why that is not known."""
    if found.seats is None:
        return found.why
    if not is_limited(found):
        return "sessions cost the event loop and memory too little to tell how many a pod can hold"
    return f"at {counted(found.seats, 'session')} {found.why}"


def described(found: SeatEstimate) -> str:
    """Return in words how many sessions a pod can hold, and by what."""
    told = reason(found)
    if not is_limited(found):
        return told
    costs = []
    if found.busy is not None:
        costs.append(f"{found.busy.each:.2%} of an event loop")
    if found.memory is not None and found.limit is not None:
        costs.append(f"{found.memory.each / 1e6:.1f} MB")
    return f"{told}; a session costs {' and '.join(costs)}, by {found.hours:.0f} session-hours"


def settled(learn: LearnedSeats, found: SeatEstimate) -> int | None:
    """Return the seats that an estimate leads to from the first guess; None: it has no number."""
    return found.seats and _goal(found.seats, learn, found.most, learn.first)


def _goal(number: int, learn: LearnedSeats, most: float, kept: int) -> int:
    """Return the seats to move to. most: sessions that pods have been seen to hold."""
    bounded = min(max(number, learn.min), learn.max)
    return min(bounded, max(kept, floor(BEYOND * most)))


def follow(
    seats: Seats | None,
    learn: LearnedSeats,
    found: SeatEstimate | None,
    seated: int | None,
    now: Now,
) -> Seats:
    """Return the seats to use now: one step nearer to the estimate, if it is time for one.

    seats: those in use; None: the policy's first guess is taken. found: None: nothing is estimated.
    seated: sessions of the fullest pod, below which seats never sink; None: those of a pod are
    unknown, and seats do not sink at all.
    """
    if seats is None:
        return Seats(learn.first, now.at)
    kept = min(max(seats.number, learn.min), learn.max)
    if kept != seats.number:  # the policy was edited
        return Seats(kept, now.at)
    if found is None or found.seats is None or not now.has_passed(PACE, since=seats.at):
        return seats
    goal = _goal(found.seats, learn, found.most, kept)
    if abs(goal - kept) <= SAME * kept or (goal > kept and not now.has_passed(RISE, seats.at)):
        return seats
    step = max(1, floor(STEP * kept))
    number = min(goal, kept + step)
    if goal < kept:
        number = kept if seated is None else max(goal, kept - step, min(kept, seated))
    return seats if number == kept else Seats(number, now.at)
