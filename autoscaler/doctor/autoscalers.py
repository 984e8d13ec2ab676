"""The other autoscalers of the target: HPAs, and ScaledObjects of KEDA."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.doctor.facts import Facts


def autoscalers_of(facts: Facts) -> Iterator[tuple[str, str, Json]]:
    """Yield the kind, the name and the object of each HPA and ScaledObject of the Deployment."""
    if facts.cluster is None or facts.ref is None:
        return
    for kind, objects in (
        ("ScaledObject", facts.cluster.scaled_objects),
        ("HorizontalPodAutoscaler", facts.cluster.autoscalers),
    ):
        for each in objects or ():
            if _scales(each, facts.ref.deployment) and not _of_keda(each):
                yield kind, each["metadata"]["name"], each


def _scales(item: Json, name: str) -> bool:
    scaled = item["spec"].get("scaleTargetRef") or {}
    return scaled.get("kind", "Deployment") == "Deployment" and scaled.get("name") == name


def _of_keda(item: Json) -> bool:
    """Return whether KEDA made it for a ScaledObject, which is told of itself."""
    owners = item["metadata"].get("ownerReferences") or ()
    return any(each.get("kind") == "ScaledObject" for each in owners)
