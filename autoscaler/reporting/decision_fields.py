"""A decision as plain values, the same for `autoscaler decide --json` and the status page. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoscaler.errors import AutoscalerError
from autoscaler.model import Decision, Reason, Recommendation, Step

_REASONS = {each.value: each for each in Reason}


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


def decision_of(fields: Mapping[str, Any]) -> Decision:
    """Return the decision that fields describe. Raises AutoscalerError for those of others."""
    try:
        return Decision(
            fields["current"],
            fields["desired"],
            tuple(Step(**_with_reason(each)) for each in fields["steps"]),
            tuple(Recommendation(**_with_reason(each)) for each in fields["recommendations"]),
        )
    except (KeyError, TypeError) as error:
        raise AutoscalerError(
            f"the decision is not that of a daemon of this version: {error}; update the older one"
        ) from None


def _with_reason(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**fields, "reason": _REASONS[fields["reason"]]}
