"""How a policy drains pods, and when it recycles them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    WrapSerializer,
    field_validator,
    model_validator,
)

from autoscaler.policy.fields import (
    Model,
    duration_field,
)
from autoscaler.policy.notations import Deadline, Duration, Percent
from autoscaler.policy.notices import waiting
from autoscaler.units import duration_text

# With a lower age, pods that start and empty more slowly would be replaced all the time.
LEAST_AGE = 60.0


class Drain(Model):
    """How a pod is drained of its sessions before it is removed."""

    # None: wait until the last session has ended.
    deadline: Deadline = Field(
        default=None,
        description="Remove a draining pod after this time even if it has sessions, provided no "
        "client has been active for 5 minutes.",
        json_schema_extra={"default": "never"},
    )
    hard_deadline: Deadline = Field(
        default=None,
        description="Remove a draining pod after this time even if its sessions are in use.",
        json_schema_extra={"default": "never"},
    )
    settle: Duration = duration_field(
        15.0,
        "Time for which new users may still arrive after a cordon, until all endpoints are updated "
        "and pages are loaded.",
    )
    reconnect: Duration = duration_field(
        30.0, "Time that a client may take to reconnect after its connection broke."
    )
    # None: create no such Event.
    tell: Deadline = Field(
        default=3_600.0,
        description="Create an Event if a draining pod has waited this long for its last sessions.",
        json_schema_extra={"default": "1h"},
    )

    # 0: ask and tell nobody.
    notice: Duration = duration_field(
        300.0,
        "Time before a deadline at which the users of the pod are told; those who use their page, "
        "or answer, keep it until `hardDeadline`. `0s` tells nobody.",
    )

    @field_validator("notice")
    @classmethod
    def _notice(cls, value: float) -> float:
        return waiting(value) if value else value

    @model_validator(mode="after")
    def _ordered(self) -> Drain:
        soft, hard = self.deadline, self.hard_deadline
        if soft is not None and hard is not None and hard < soft:
            said = f"hardDeadline ({duration_text(hard)}) is before deadline"
            raise ValueError(f"{said} ({duration_text(soft)}): expected deadline <= hardDeadline")
        return self


class Recycle(Model):
    """When to replace pods, so that memory which they leak is freed; each is drained first."""

    memory: Percent | None = Field(
        default=None, description="Replace a pod whose memory exceeds this share of its limit."
    )
    age: Duration | None = Field(default=None, description="Replace a pod older than this.")

    @model_validator(mode="after")
    def _something(self) -> Recycle:
        if self.memory is None and self.age is None:
            raise ValueError("expected memory, age or both, such as {memory: 85%, age: 24h}")
        if self.memory is not None and not 0 < self.memory <= 100:
            raise ValueError("expected memory above 0% and up to 100%")
        if self.age is not None and self.age < LEAST_AGE:
            raise ValueError(f"expected an age of at least {duration_text(LEAST_AGE)}")
        return self


def _drain(value: Any) -> Any:
    if value == "none":
        return None
    # An empty `drain:` must not mean "none", because that ends sessions.
    if isinstance(value, dict | Drain):
        return value
    raise ValueError("expected none, {deadline: 4h} or {deadline: never}")


DrainOrNone = Annotated[
    Drain | None,
    BeforeValidator(_drain, json_schema_input_type=Literal["none"] | Drain),
    WrapSerializer(
        lambda value, inner: "none" if value is None else inner(value), when_used="json"
    ),
]
