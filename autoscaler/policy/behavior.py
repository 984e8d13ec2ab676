"""How fast a policy may scale: the behavior of HPA, and cooldowns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
)

from autoscaler.policy.fields import (
    AtLeastOne,
    Model,
    duration_field,
)
from autoscaler.policy.notations import Duration, Ratio


class RatePolicy(Model):
    """Limit on the change: at most `value` pods or percent in `periodSeconds`."""

    type: Literal["Pods", "Percent"] = Field(description="Unit of `value`.")
    value: AtLeastOne = Field(description="Largest change within `periodSeconds`.")
    period_seconds: Annotated[int, Field(strict=True, ge=1, le=1_800)] = Field(
        description="Period over which the change is limited, in seconds."
    )


class ScalingRules(Model):
    """The rules of HPA's `spec.behavior` for one direction."""

    stabilization_window_seconds: Annotated[int, Field(strict=True, ge=0, le=3_600)] | None = Field(
        default=None,
        description="Time over which the most cautious recommendation is used, in seconds.",
    )
    select_policy: Literal["Max", "Min", "Disabled"] = Field(
        default="Max", description="Which of the policies applies; Disabled prevents any change."
    )
    policies: tuple[RatePolicy, ...] = Field(default=(), description="Limits on the change.")
    tolerance: Ratio | None = Field(
        default=None, description="Relative deviation from the target that causes no change."
    )


class Behavior(Model):
    """The `spec.behavior` of an HPA; unset fields have the same defaults as there."""

    scale_up: ScalingRules = Field(default=ScalingRules(), description="Rules for scaling up.")
    scale_down: ScalingRules = Field(default=ScalingRules(), description="Rules for scaling down.")


class Cooldown(Model):
    """Minimum times between two changes of the replica count."""

    up: Duration = duration_field(0.0, "Minimum time after a scale-up before the next scale-up.")
    down: Duration = duration_field(0.0, "Minimum time after any change before a scale-down.")
