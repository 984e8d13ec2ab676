"""Which pods a policy sends new users to: the fullest ones that have seats, or all of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WrapSerializer

from autoscaler.policy.fields import AtLeastOne, Model


class Packing(Model):
    """Send new users to the fullest pods that have enough seats for them."""

    min_routable: AtLeastOne | None = Field(
        default=None,
        description="Pods with free seats that get new users at least; by default 2, or 1 if "
        "`replicas.min` is 1.",
    )


class Spreading(Model):
    """Send new users to all pods."""


def _placement(value: Any) -> Any:
    if value == "packed":
        return Packing()
    if value == "spread":
        return Spreading()
    if isinstance(value, dict | Packing | Spreading):
        return value
    raise ValueError("expected packed, spread or {minRoutable: 2}")


def _text(value: Any, inner: Any) -> Any:
    if isinstance(value, Spreading):
        return "spread"
    return inner(value) if value.min_routable is not None else "packed"


Placement = Annotated[
    Packing | Spreading,
    BeforeValidator(_placement, json_schema_input_type=Literal["packed", "spread"] | Packing),
    WrapSerializer(_text, when_used="json"),
]
