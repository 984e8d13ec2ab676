"""Sessions and seats: who is connected, and how many seats to keep free."""

from __future__ import annotations

from math import ceil, exp, sqrt
from statistics import NormalDist
from typing import NamedTuple

from autoscaler.model import Cause, PodState, Traffic
from autoscaler.policy import RefusalTarget, SessionsMetric
from autoscaler.quantities import Share

# A pod that became Ready less than this ago need not have been scraped yet: two scrapes of 15 s.
FIRST_SCRAPE = 30.0
ARRIVALS_MEMORY = 300.0
DEPARTURES_MEMORY = 900.0
EXACT_BELOW = 30.0


class Connected(NamedTuple):
    """Sessions that need a seat on routable pods. measured: pods with a sample; unknown: without.

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


def connected(pods: tuple[PodState, ...], seats: int, now: float) -> Connected:
    """Count sessions where new users may be sent; a pod that should say and does not is full."""
    there = [p for p in pods if not p.deleting and p.phase not in ("Failed", "Succeeded")]
    routable = [pod for pod in there if pod.routable]
    known = [pod.sessions.value for pod in routable if pod.sessions is not None]
    unknown = sum(pod.sessions is None and not is_arriving(pod, now) for pod in routable)
    apart = [pod for pod in there if _is_apart(pod)]
    beyond = [max(0, pod.sessions.value - seats) for pod in apart if pod.sessions is not None]
    idle = sum(pod.sessions is not None and pod.sessions.value == 0 for pod in apart)
    sessions = sum(known) + seats * unknown + sum(beyond)
    return Connected(sessions, len(known), unknown, len(routable), len(apart) - idle, idle)


def _is_apart(pod: PodState) -> bool:
    """Whether the pod gets no new users and is not on its way out."""
    return not pod.routable and (pod.cordon is None or pod.cordon.cause is not Cause.SHRINK)


class Seating(NamedTuple):
    """The seats of the pods that get new sessions, and how many of them are known to be free."""

    capacity: int
    free: int


def seating(pods: tuple[PodState, ...], seats: int) -> Seating:
    """Seats where new users may be sent now; a pod without data has none free."""
    open_pods = [pod for pod in pods if pod.routable and pod.serving]
    taken = [seats if pod.sessions is None else pod.sessions.value for pod in open_pods]
    return Seating(seats * len(open_pods), sum(max(0, seats - count) for count in taken))


def without_data(pods: tuple[PodState, ...], now: float) -> int:
    """Pods that should tell their sessions and do not."""
    return sum(
        pod.sessions is None
        and not pod.deleting
        and pod.phase not in ("Failed", "Succeeded")
        and not is_arriving(pod, now)
        for pod in pods
    )


def is_arriving(pod: PodState, now: float) -> bool:
    """Whether a pod without data cannot have users yet, or only since the last scrape.

    It has never been Ready, so no Service sends to it, or became so within two scrapes.
    """
    if pod.phase == "Pending" or pod.ready is None:
        return True
    if pod.ready:
        return pod.ready_since is not None and now - pod.ready_since < FIRST_SCRAPE
    return (
        pod.started_at is not None
        and pod.ready_since is not None
        and pod.ready_since - pod.started_at < FIRST_SCRAPE
    )


def spare_seats(metric: SessionsMetric, sessions: int, traffic: Traffic, interval: float) -> int:
    """How many seats to keep free beyond the connected sessions."""
    match metric.spare:
        case int():
            return metric.spare
        case Share(percent):
            return ceil(sessions * percent / 100.0 - 1e-9)
        case RefusalTarget():
            return seats_for_refusal(metric.spare, traffic, interval)


def seats_for_refusal(target: RefusalTarget, traffic: Traffic, interval: float) -> int:
    """Seats for those who may arrive before new ones can exist, all but `refuse` of the time.

    Square-root staffing over the lead time: with 0.1 arrivals a second, 60 s to a Ready pod and
    2 s between passes, 6.2 are expected and 15 are enough 99.9 % of the time.
    """
    horizon = target.lead_time + interval
    arrivals, departures = traffic.arrivals * horizon, traffic.departures * horizon
    quantile = 1.0 - target.refuse / 100.0
    if arrivals < EXACT_BELOW:
        return max(1, _poisson_quantile(arrivals, quantile))
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


def follow_traffic(traffic: Traffic | None, count: int, now: float) -> Traffic:
    """Arrivals and departures a second, smoothed, from the change since the last pass.

    One pass sees only the net change, so someone who came while another left is not counted.
    """
    if traffic is None or now <= traffic.at:
        return Traffic(count, now)
    elapsed = now - traffic.at
    change = (count - traffic.connected) / elapsed
    return Traffic(
        count,
        now,
        _smooth(traffic.arrivals, max(change, 0.0), elapsed / ARRIVALS_MEMORY),
        _smooth(traffic.departures, max(-change, 0.0), elapsed / DEPARTURES_MEMORY),
    )


def _smooth(old: float, new: float, share: float) -> float:
    return old + (1.0 - exp(-share)) * (new - old)
