"""Where Services lead, by their EndpointSlices."""

from __future__ import annotations

from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.doctor.facts import Facts

# The label by which an EndpointSlice names its Service.
SERVICE_NAME = "kubernetes.io/service-name"


def has_ready_endpoint(facts: Facts, service: Json) -> bool | None:
    """Return whether a Service leads to a ready pod; None if that could not be read."""
    slices = facts.cluster.endpoint_slices if facts.cluster else None
    if slices is None:
        return None
    return any(
        (each.get("conditions") or {}).get("ready", True)
        for part in slices
        if (part["metadata"].get("labels") or {}).get(SERVICE_NAME) == service["metadata"]["name"]
        for each in part.get("endpoints") or ()
    )
