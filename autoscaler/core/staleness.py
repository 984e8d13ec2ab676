"""How old samples and cached objects may be, and which pods need not have a sample yet."""

from __future__ import annotations

from autoscaler.core.now import Now
from autoscaler.model import PodState

# One scrape may fail without a pod going missing.
SCRAPES = 2
# Seconds for which what was watched counts without a word of the API server. At rest it speaks
# every 30 s, and a watch that has broken without a word is made again within 40 s.
CACHE_FRESH_FOR = 45.0


def fresh_for(scrape_interval: float) -> float:
    """Return the seconds after which a sample counts as missing. scrape_interval: in seconds."""
    return SCRAPES * scrape_interval


def scrape_interval(fresh_for: float) -> float:
    """Return the seconds between two scrapes. fresh_for: after which a sample counts as missing."""
    return fresh_for / SCRAPES


def is_cache_stale(confirmed_at: float | None, now: Now) -> bool:
    """Whether the target is from a cache that nothing has confirmed for too long."""
    return confirmed_at is not None and now.has_passed(CACHE_FRESH_FOR, since=confirmed_at)


def is_arriving(pod: PodState, now: Now, fresh_for: float) -> bool:
    """Whether a pod without data cannot have users yet, or only since the last scrape.

    It has never been Ready, so no Service sends to it, or became so within two scrapes
    (`Observation.fresh_for`).
    """
    if pod.phase == "Pending" or pod.ready is None:
        return True
    if pod.ready:
        return pod.ready_since is not None and not now.has_passed(fresh_for, pod.ready_since)
    return (
        pod.started_at is not None
        and pod.ready_since is not None
        and pod.ready_since - pod.started_at < fresh_for
    )
