"""Sessions and seats: who is connected, and how many seats to keep free."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache
from itertools import takewhile
from math import ceil, exp, sqrt
from statistics import NormalDist
from typing import NamedTuple

from autoscaler.core import forecast
from autoscaler.core.now import Now
from autoscaler.core.staleness import is_arriving, scrape_interval
from autoscaler.model import Average, PodState, Stays, Traffic
from autoscaler.policy import Policy, RefusalTarget, SessionsMetric
from autoscaler.units import Share

ARRIVALS_MEMORY = 300.0
DEPARTURES_MEMORY = 900.0
STAYS_MEMORY = 172_800.0
# How long sessions last is known after a day and changes slowly, seconds.
STAYS_KNOWN, STAYS_KEPT = 86_400.0, 3_600.0
EXACT_BELOW = 30.0
# Rates are measured over a minute, so whoever comes sooner than that is not yet in them, seconds.
LANDING = 60.0
# In percent, where the policy does not say how many may find no seat.
LANDING_REFUSED = 0.1
NORMAL = NormalDist()
# Users on average who are none.
NEGLIGIBLE = 1e-12
# A mean that is closer to a limit than this share of it may be on either side.
ROUNDING = 1e-9


class Connected(NamedTuple):
    """Sessions that need a seat on available pods. measured: pods with a sample; unknown: without.

    Each unknown pod is counted as full: missing is never zero. open: pods that new users can go to,
    soon at least. apart: pods with users that get no new ones, so their seats are nobody's; what
    they hold beyond their seats counts as sessions. idle: those of which the users have left.
    cost: seats that a measured session takes on average, where the app says that it is more than 1.
    A session counts as often as it takes seats.
    """

    sessions: int
    measured: int
    unknown: int
    open: int = 0
    apart: int = 0
    idle: int = 0
    cost: float = 1.0


def connected(active: tuple[PodState, ...], seats: int, now: Now, fresh_for: float) -> Connected:
    """Count sessions where new users may be sent; a pod that should say and does not is full."""
    available = [pod for pod in active if pod.is_available]
    known = [pod.taken.value for pod in available if pod.taken is not None]
    blind = [pod for pod in available if pod.sessions is None]
    unknown = sum(not is_arriving(pod, now, fresh_for) for pod in blind)
    apart = [pod for pod in active if pod.is_cordoned_full]
    held = [pod.taken.value for pod in apart if pod.taken is not None]
    idle = held.count(0)
    beyond = sum(max(0, count - seats) for count in held)
    sessions = sum(known) + seats * unknown + beyond
    busy, cost = len(apart) - idle, _cost(active)
    return Connected(sessions, len(known), unknown, len(available), busy, idle, cost)


def _cost(pods: tuple[PodState, ...]) -> float:
    """Return the seats that a session takes on average, 1 at least."""
    if all(pod.seats is None for pod in pods):
        return 1.0
    count = sum(pod.sessions.value for pod in pods if pod.sessions is not None)
    return max(1.0, sum(pod.taken.value for pod in pods if pod.taken is not None) / max(1, count))


class Seating(NamedTuple):
    """The seats of the pods that new sessions can get, and how many are known to be free."""

    capacity: int
    free: int


def seating(pods: tuple[PodState, ...], seats: int) -> Seating:
    """Seats where new users may be sent, at once or after one pass; without data none are free."""
    open_pods = [pod for pod in pods if pod.is_available and pod.serving]
    taken = [seats if pod.taken is None else pod.taken.value for pod in open_pods]
    return Seating(seats * len(open_pods), sum(max(0, seats - count) for count in taken))


def without_data(pods: tuple[PodState, ...], now: Now, fresh_for: float) -> int:
    """Pods that should tell their sessions and do not."""
    return sum(
        pod.sessions is None and pod.is_active and not is_arriving(pod, now, fresh_for)
        for pod in pods
    )


def seen_after(policy: Policy, fresh_for: float) -> float:
    """Seconds until a pass sees that somebody has come."""
    return policy.interval + scrape_interval(fresh_for)


def spare_seats(
    metric: SessionsMetric,
    sessions: int,
    traffic: Traffic | None,
    lead_time: float | None,
    delay: float,
    now: Now,
    cost: float = 1.0,
) -> int:
    """How many seats to keep free beyond the connected sessions.

    lead_time: seconds that new pods take, as they did; None: as the policy says. delay: seconds
    until a pass sees that somebody has come. cost: seats that each of them will take.
    """
    target = metric.spare
    if not isinstance(target, RefusalTarget):
        return _stated(target, sessions)
    traffic = traffic or Traffic(now.at)
    horizon = (target.lead_time if lead_time is None else lead_time) + delay
    ahead = forecast.expected(traffic.profile, horizon, now) if metric.forecasts else None
    # A rush that nobody foresees needs more than a share of the seats that are free anyway.
    foreseen = metric.forecasts and forecast.foresees(traffic.profile, now)
    step = metric.seats if foreseen else 1
    come = seats_for_arrivals(target.refuse, step, traffic, ahead or 0.0, horizon, now)
    return ceil(come * cost - 1e-9)


def doubts_forecast(traffic: Traffic | None, now: Now) -> str:
    """Return in words what is wrong with the forecast of this time; "": nothing."""
    return forecast.doubts(traffic and traffic.profile, now)


def _stated(spare: int | Share, sessions: int) -> int:
    """Return the seats that the policy itself says."""
    return spare if isinstance(spare, int) else ceil(sessions * spare.percent / 100.0 - 1e-9)


def landing_seats(
    metric: SessionsMetric,
    sessions: int,
    traffic: Traffic,
    delay: float,
    now: Now,
    cost: float = 1.0,
) -> int:
    """How many seats to keep open to those who come before a pass can open another warm pod.

    They are the spare seats where the policy says how many, and more if more may come. Nobody who
    leaves is counted: it may be a pod of the reserve that they leave.
    """
    target, horizon = metric.spare, max(LANDING, delay)
    if isinstance(target, RefusalTarget):
        refuse, least = target.refuse, 0
    else:
        refuse, least = LANDING_REFUSED, _stated(target, sessions)
    ahead = forecast.expected(traffic.profile, horizon, now) if metric.forecasts else None
    staying = traffic._replace(departures=Average(since=traffic.at))
    come = seats_for_arrivals(refuse, 1, staying, ahead or 0.0, horizon, now)
    return max(least, ceil(come * cost - 1e-9))


def seats_for_arrivals(
    refuse: float, step: int, traffic: Traffic, ahead: float, horizon: float, now: Now
) -> int:
    """Free seats for those who may arrive within `horizon` seconds.

    refuse: share of them who may find none, in percent. step: seats that are added at once. ahead:
    arrivals a second that are expected, if that is more than have arrived of late.
    """
    arrivals, departures = averages(traffic)
    mean = max(arrivals, ahead) * horizon
    if mean >= EXACT_BELOW:
        now.changes_at(traffic.at)
        seats = _seats_by_normal(refuse, step, mean, departures * horizon)
        if arrivals * horizon >= EXACT_BELOW:
            return seats
        # Of few arrivals no departures are subtracted, and a forecast must not lower their seats.
        return max(seats, seats_for_arrivals(refuse, step, traffic, 0.0, horizon, now))
    seats = 1
    while _largest_mean(seats, refuse, step) < mean:
        seats += 1
    low = _largest_mean(seats - 1, refuse, step) * (1.0 + ROUNDING) if seats > 1 else 0.0
    high = _largest_mean(seats, refuse, step) * (1.0 - ROUNDING)
    limits = 0.0 if ahead * horizon > low else low / horizon, high / horizon
    now.changes_at(traffic.arrivals.within_until(*limits, traffic.at, ARRIVALS_MEMORY))
    return seats


@lru_cache(maxsize=4_096)
def _largest_mean(seats: int, refuse: float, step: int) -> float:
    """The largest mean, up to EXACT_BELOW, of Poisson arrivals for which so many seats do."""
    low, high, mean = 0.0, EXACT_BELOW, EXACT_BELOW
    for _ in range(48):
        if _refused(mean, seats, step) <= refuse / 100.0 * mean:
            low = mean
        else:
            high = mean
        mean = (low + high) / 2.0
    return low


def _refused(mean: float, seats: int, step: int) -> float:
    """How many Poisson arrivals find no seat on average.

    Seats are added `step` at once, so there are up to `step` - 1 more, each number as often.
    """
    chance, known, count = exp(-mean), 0.0, 0
    beyond, total = mean, 0.0  # expected arrivals beyond `count` seats
    while count < seats + step and beyond > NEGLIGIBLE:
        if count >= seats:
            total += beyond
        known += chance
        beyond -= 1.0 - known
        count += 1
        chance *= mean / count
    return total / step


def _seats_by_normal(refuse: float, step: int, arrivals: float, departures: float) -> int:
    """The same for many: a normal distribution of arrivals less departures."""
    mean, spread = arrivals - departures, sqrt(arrivals + departures)

    def refused(seats: int) -> float:
        z = (seats - mean) / spread
        return spread * (NORMAL.pdf(z) - z * (1.0 - NORMAL.cdf(z)))

    def is_enough(seats: int) -> bool:
        return _sum_of_falling(refused, seats, step) <= refuse / 100.0 * arrivals * step

    # Nobody is refused with ten standard deviations more seats than the mean.
    candidates = range(1, max(1, ceil(mean + 10.0 * spread)) + 1)
    return candidates[bisect_left(candidates, True, hi=len(candidates) - 1, key=is_enough)]


def _sum_of_falling(values: Callable[[int], float], first: int, count: int) -> float:
    """The sum of so many values, of which each is smaller than the one before."""
    return sum(takewhile(NEGLIGIBLE.__lt__, map(values, range(first, first + count))))


def averages(traffic: Traffic) -> tuple[float, float]:
    """Return the averages of arrivals and departures when they were last counted."""
    return (
        traffic.arrivals.at(traffic.at, ARRIVALS_MEMORY),
        traffic.departures.at(traffic.at, DEPARTURES_MEMORY),
    )


def follow_traffic(
    traffic: Traffic | None, pods: tuple[PodState, ...], now: Now, fresh_for: float
) -> Traffic | None:
    """Arrivals and departures a second of all pods, with their averages; None if none has told.

    They are rates of the exporters' own counters, so neither a pod without data nor a daemon that
    was away looks like somebody who came. A pod that should tell and does not may hide some: until
    it tells again, arrivals only rise and departures only fall.
    """
    told = [pod for pod in pods if pod.arrivals is not None]
    silent = [pod for pod in pods if pod.arrivals is None]
    if not told or (traffic and traffic.known and not now.has_passed(0.0, since=traffic.at)):
        return traffic
    came = sum(pod.arrivals.value for pod in told if pod.arrivals is not None) / 1000
    left = sum(pod.departures.value for pod in told if pod.departures is not None) / 1000
    if traffic is None or not traffic.known:
        first = (Average(came, came, now.at), Average(left, left, now.at))
        nothing = Average(since=now.at)
        stays = _follow_stays(Stays(now.at, nothing, nothing, now.at), now.at, pods, came, now)
        profile = forecast.follow(None, came, now.at, now)
        return Traffic(now.at, *first, known=True, stays=stays, profile=profile)
    if any(pod.serving and not is_arriving(pod, now, fresh_for) for pod in silent):
        arrivals, departures = averages(traffic)
        came, left = max(came, arrivals), min(left, departures)
    return Traffic(
        now.at,
        traffic.arrivals.toward(came, traffic.at, ARRIVALS_MEMORY),
        traffic.departures.toward(left, traffic.at, DEPARTURES_MEMORY),
        known=True,
        stays=traffic.stays and _follow_stays(traffic.stays, traffic.at, pods, came, now),
        profile=forecast.follow(traffic.profile, came, traffic.at, now),
    )


def _follow_stays(
    stays: Stays, since: float, pods: tuple[PodState, ...], came: float, now: Now
) -> Stays:
    """How long sessions last, computed anew every hour. since: when they were last counted."""
    present = sum(pod.sessions.value for pod in pods if pod.sessions is not None)
    stays = stays._replace(
        sessions=stays.sessions.toward(present, since, STAYS_MEMORY),
        arrivals=stays.arrivals.toward(came, since, STAYS_MEMORY),
    )
    if not now.has_passed(STAYS_KEPT, since=stays.at):
        return stays
    arrivals = stays.arrivals.at(now.at, STAYS_MEMORY)
    is_known = now.has_passed(STAYS_KNOWN, since=stays.since) and arrivals > 0
    mean = stays.sessions.at(now.at, STAYS_MEMORY) / arrivals if is_known else None
    return stays._replace(at=now.at, mean=mean)
