"""How old a sample may be, and which pods need not have one yet."""

from __future__ import annotations

from autoscaler.core.now import Now
from autoscaler.model import PodState

# One scrape may fail without a pod going missing.
SCRAPES = 2


def fresh_for(scrape_interval: float) -> float:
    """Return the seconds after which a sample counts as missing. scrape_interval: in seconds."""
    return SCRAPES * scrape_interval


def scrape_interval(fresh_for: float) -> float:
    """Return the seconds between two scrapes. fresh_for: after which a sample counts as missing."""
    return fresh_for / SCRAPES


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
