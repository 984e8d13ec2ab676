"""Since when pods run, and since when they are not Ready."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.adapters.kubernetes.pods import Json, unix
from autoscaler.doctor.facts import Facts

# Seconds in which a pod that has started is scraped, and counts its sessions.
YOUNG = 120.0


def container_statuses(pod: Json) -> Iterator[Json]:
    """Yield what is known of each container of a pod, init containers among them."""
    for kind in ("containerStatuses", "initContainerStatuses"):
        yield from pod["status"].get(kind) or ()


def is_young(facts: Facts, pod: Json) -> bool:
    """Return whether the newest container of a pod started less than two minutes ago."""
    running = ((each.get("state") or {}).get("running") or {} for each in container_statuses(pod))
    told = [pod["status"].get("startTime"), *(each.get("startedAt") for each in running)]
    times = [at for at in map(unix, told) if at is not None]
    return facts.now is not None and bool(times) and facts.now - max(times) < YOUNG


def unready_for(facts: Facts, pod: Json) -> float:
    """Return for how many seconds a pod has not been Ready; 0 if it is, or if that is unknown."""
    for each in pod["status"].get("conditions") or ():
        if each["type"] == "Ready" and each["status"] != "True":
            since = unix(each.get("lastTransitionTime"))
            return 0.0 if since is None or facts.now is None else max(0.0, facts.now - since)
    return 0.0
