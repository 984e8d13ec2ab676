"""What a kubelet would report of a pod, as a patch of its status."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Health(StrEnum):
    """What becomes of a pod on the scripted node."""

    READY = "Ready"
    NOT_READY = "NotReady"  # runs, its readiness probe fails
    PENDING = "Pending"  # still pulls its image
    CRASHED = "Crashed"  # CrashLoopBackOff


def pod_status(
    pod: Mapping[str, Any], health: Health, *, ip: str, started: str, now: str
) -> dict[str, Any]:
    """The status of `pod` in this health. started, now: RFC 3339; now is the transition time."""
    ready = health is Health.READY
    status: dict[str, Any] = {
        "phase": "Pending" if health is Health.PENDING else "Running",
        "startTime": started,
        "conditions": [
            _condition("Initialized", True, now),
            _condition("ContainersReady", ready, now),
            _condition("Ready", ready, now),
        ],
        "containerStatuses": [
            _container(container, health, started) for container in pod["spec"]["containers"]
        ],
    }
    if health is not Health.PENDING:
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    return {"status": status}


def _condition(kind: str, holds: bool, now: str) -> dict[str, str]:
    reason = {} if holds or kind == "Initialized" else {"reason": "ContainersNotReady"}
    return {"type": kind, "status": str(holds), "lastTransitionTime": now, **reason}


def _container(container: Mapping[str, Any], health: Health, started: str) -> dict[str, Any]:
    states: dict[Health, dict[str, Any]] = {
        Health.PENDING: {"waiting": {"reason": "ContainerCreating"}},
        Health.CRASHED: {"waiting": {"reason": "CrashLoopBackOff"}},
    }
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": health is Health.READY,
        "started": health in (Health.READY, Health.NOT_READY),
        "restartCount": 3 if health is Health.CRASHED else 0,
        "state": states.get(health, {"running": {"startedAt": started}}),
    }
