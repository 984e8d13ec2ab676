"""A decision as plain values, the same for `autoscaler decide --json` and the status page. Pure."""

from __future__ import annotations

from typing import Any

from autoscaler.model import Decision


def decision_fields(decision: Decision) -> dict[str, Any]:
    """Return the numbers, the reason, what each metric asks for, and each step."""
    return {
        "current": decision.current,
        "desired": decision.desired,
        "direction": decision.direction,
        "reason": decision.reason,
        "recommendations": [metric._asdict() for metric in decision.recommendations],
        "steps": [step._asdict() for step in decision.steps],
    }
