"""Sessions and seats: who is connected, and how many seats to keep free."""

from __future__ import annotations

from functools import lru_cache
from math import ceil, exp, sqrt
from statistics import NormalDist
from typing import NamedTuple

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
# A mean that is closer to a limit than this share of it may be on either side.
ROUNDING = 1e-9


class Connected(NamedTuple):
    """Sessions that need a seat on available pods. measured: pods with a sample; unknown: without.

    Each unknown pod is counted as full: missing is never zero. open: pods that new users can go to,
    soon at least. apart: pods with users that get no new ones, so their seats are nobody's; what
    they hold beyond their seats counts as sessions. idle: those of which the users have left.
    """

    sessions: int
    measured: int
    unknown: int
    open: int = 0
    apart: int = 0
    idle: int = 0


def connected(active: tuple[PodState, ...], seats: int, now: Now, fresh_for: float) -> Connected:
    """Count sessions where new users may be sent; a pod that should say and does not is full."""
    available = [pod for pod in active if pod.is_available]
    known = [pod.sessions.value for pod in available if pod.sessions is not None]
    blind = [pod for pod in available if pod.sessions is None]
    unknown = sum(not is_arriving(pod, now, fresh_for) for pod in blind)
    apart = [pod for pod in active if pod.is_cordoned_full]
    held = [pod.sessions.value for pod in apart if pod.sessions is not None]
    idle = held.count(0)
    beyond = sum(max(0, count - seats) for count in held)
    sessions = sum(known) + seats * unknown + beyond
    return Connected(sessions, len(known), unknown, len(available), len(apart) - idle, idle)


class Seating(NamedTuple):
    """The seats of the pods that new sessions can get, and how many are known to be free."""

    capacity: int
    free: int


def seating(pods: tuple[PodState, ...], seats: int) -> Seating:
    """Seats where new users may be sent, at once or after one pass; without data none are free."""
    open_pods = [pod for pod in pods if pod.is_available and pod.serving]
    taken = [seats if pod.sessions is None else pod.sessions.value for pod in open_pods]
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
    metric: SessionsMetric, sessions: int, traffic: Traffic | None, delay: float, now: Now
) -> int:
    """How many seats to keep free beyond the connected sessions.

    delay: seconds until a pass sees that somebody has come.
    """
    match metric.spare:
        case int():
            return metric.spare
        case Share(percent):
            return ceil(sessions * percent / 100.0 - 1e-9)
        case RefusalTarget() as target:
            traffic = traffic or Traffic(now.at)
            return seats_for_arrivals(target.refuse, traffic, target.lead_time + delay, now)


def landing_seats(metric: SessionsMetric, traffic: Traffic, delay: float, now: Now) -> int:
    """How many seats to keep open to those who come before a pass can open another warm pod."""
    target = metric.spare
    refuse = target.refuse if isinstance(target, RefusalTarget) else LANDING_REFUSED
    return seats_for_arrivals(refuse, traffic, max(LANDING, delay), now)


def seats_for_arrivals(refuse: float, traffic: Traffic, horizon: float, now: Now) -> int:
    """Seats for those who may arrive within `horizon` seconds at the rates of the traffic."""
    seats = seats_for_refusal(refuse, *averages(traffic), horizon)
    now.changes_at(_same_until(traffic, refuse, horizon, seats))
    return seats


def seats_for_refusal(refuse: float, arrivals: float, departures: float, horizon: float) -> int:
    """Seats for those who may arrive within `horizon` seconds, all but `refuse` % of the time.

    Square-root staffing over the lead time: with 0.1 arrivals a second, 60 s to a Ready pod, 2 s
    between passes and 5 s between scrapes, 6.7 are expected and 16 are enough 99.9 % of the time.
    """
    quantile = 1.0 - refuse / 100.0
    if arrivals * horizon < EXACT_BELOW:
        return max(1, _poisson_quantile(arrivals * horizon, quantile))
    arrivals, departures = arrivals * horizon, departures * horizon
    spread = NormalDist().inv_cdf(quantile) * sqrt(arrivals + departures)
    return max(1, ceil(arrivals - departures + spread))


def _poisson_quantile(mean: float, quantile: float) -> int:
    """The smallest count that a Poisson number of this mean stays within, so often."""
    count, term = 0, exp(-mean)
    total = term
    while total < quantile and count < 1_000:
        count += 1
        term *= mean / count
        total += term
    return count


def _same_until(traffic: Traffic, refuse: float, horizon: float, seats: int) -> float:
    """A time before which so many seats are enough, if the rates stay as they are."""
    if averages(traffic)[0] * horizon >= EXACT_BELOW:
        return traffic.at
    quantile = 1.0 - refuse / 100.0
    low = _largest_mean(seats - 1, quantile) * (1.0 + ROUNDING) if seats > 1 else 0.0
    high = _largest_mean(seats, quantile) * (1.0 - ROUNDING)
    limits = low / horizon, high / horizon
    return traffic.arrivals.within_until(*limits, traffic.at, ARRIVALS_MEMORY)


@lru_cache(maxsize=1_024)
def _largest_mean(count: int, quantile: float) -> float:
    """The largest mean, up to EXACT_BELOW, of a Poisson number that stays within this count."""
    low, high = 0.0, EXACT_BELOW
    for _ in range(64):
        mean = (low + high) / 2.0
        if _poisson_quantile(mean, quantile) <= count:
            low = mean
        else:
            high = mean
    return low


def averages(traffic: Traffic) -> tuple[float, float]:
    """Return the averages of arrivals and departures when they were last counted."""
    return (
        traffic.arrivals.at(traffic.at, ARRIVALS_MEMORY),
        traffic.departures.at(traffic.at, DEPARTURES_MEMORY),
    )


def follow_traffic(
    traffic: Traffic | None, pods: tuple[PodState, ...], now: Now, fresh_for: float
) -> Traffic:
    """Arrivals and departures a second of all pods, with their averages.

    They are rates of the exporters' own counters, so neither a pod without data nor a daemon that
    was away looks like somebody who came. A pod that should tell and does not may hide some: until
    it tells again, arrivals only rise and departures only fall.
    """
    told = [pod for pod in pods if pod.arrivals is not None]
    silent = [pod for pod in pods if pod.arrivals is None]
    traffic = traffic or Traffic(now.at)
    if not told or (traffic.known and not now.has_passed(0.0, since=traffic.at)):
        return traffic
    came = sum(pod.arrivals.value for pod in told if pod.arrivals is not None) / 1000
    left = sum(pod.departures.value for pod in told if pod.departures is not None) / 1000
    if not traffic.known:
        first = (Average(came, came, now.at), Average(left, left, now.at))
        stays = Stays(now.at, Average(since=now.at), Average(since=now.at), now.at)
        return Traffic(now.at, *first, known=True, stays=stays)
    if any(pod.serving and not is_arriving(pod, now, fresh_for) for pod in silent):
        arrivals, departures = averages(traffic)
        came, left = max(came, arrivals), min(left, departures)
    return Traffic(
        now.at,
        traffic.arrivals.toward(came, traffic.at, ARRIVALS_MEMORY),
        traffic.departures.toward(left, traffic.at, DEPARTURES_MEMORY),
        known=True,
        stays=traffic.stays and _follow_stays(traffic.stays, traffic.at, pods, came, now),
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
