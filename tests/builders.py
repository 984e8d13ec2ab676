"""Values for tests with defaults that can be overridden, so a test states only what matters."""

from __future__ import annotations

from typing import Any

from autoscaler.model import Observation, PodState, Resources, Sample
from autoscaler.policy import Policy

NOW = 1_800_000_000.0
LONG_AGO = NOW - 86_400.0


def policy(**overrides: Any) -> Policy:
    """A policy for 10 sessions a pod with nothing to spare, 1 to 20 replicas."""
    settings: dict[str, Any] = {
        "name": "dashboards",
        "target": {"namespace": "bokeh", "deployment": "bokeh-app"},
        "replicas": {"min": 1, "max": 20},
        "metrics": [{"type": "sessions", "seats": 10}],
    }
    return Policy.model_validate({**settings, **overrides})


def pod(name: str = "pod-0", *, sessions: int | None = None, **overrides: Any) -> PodState:
    """A pod that has been Ready for a day; sessions None: its exporter says nothing."""
    at = overrides.pop("at", NOW)
    settings: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "ready_since": LONG_AGO,
        "started_at": LONG_AGO,
        "created_at": LONG_AGO,
        "resources": Resources(1000, 1_000_000, 1_000_000),
        "sessions": None if sessions is None else Sample(sessions, at),
    }
    for signal in ("cpu", "memory"):
        if isinstance(overrides.get(signal), int):
            overrides[signal] = Sample(overrides[signal], at, 60.0)
    return PodState(**{**settings, **overrides})


def pods(*sessions: int | None, **overrides: Any) -> tuple[PodState, ...]:
    """One pod for each number of sessions."""
    return tuple(
        pod(f"pod-{index}", sessions=count, **overrides) for index, count in enumerate(sessions)
    )


def observation(*sessions: int | None, **overrides: Any) -> Observation:
    """A target whose pods hold these sessions, at the replica count that they make."""
    chosen = overrides.pop("pods", pods(*sessions))
    settings: dict[str, Any] = {
        "replicas": len(chosen),
        "status_replicas": len(chosen),
        "pods": chosen,
        "uid": "uid-bokeh-app",
        "resource_version": "1",
    }
    return Observation(**{**settings, **overrides})
