"""What a policy scales by: sessions, CPU, memory, and PromQL queries."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_serializer,
    field_validator,
    model_validator,
)

from autoscaler.policy.fields import (
    MAX_REPLICAS,
    Amount,
    AtLeastOne,
    Count,
    Model,
    duration_field,
)
from autoscaler.policy.notations import Duration, Percent, SpareShare, WholePercent
from autoscaler.units import Share

Source = Literal["exporter", "cadvisor"]


# A placeholder of Grafana or Helm, also as the value of a label.
_PLACEHOLDER = re.compile(r"""\[?\$\{?__\w+|\[\$\w+|=~?\s*["']\$\{?[A-Za-z_]|\{\{\s*[-.$\w]""")


class RefusalTarget(Model):
    """Free seats computed from the share of new users who may find none."""

    refuse: Percent = Field(description="Share of new users who may find no free seat.")
    lead_time: Duration = duration_field(
        60.0, "Time for a new pod to become Ready, until five pods have shown how long they take."
    )
    forecast: Literal["weekly", "none"] = Field(
        default="weekly",
        description="Whether to expect as many new users as at the same time of the days and weeks "
        "before, if that is more than come now.",
    )

    @field_validator("refuse")
    @classmethod
    def _between(cls, value: float) -> float:
        if not 0 < value < 50:
            raise ValueError("expected a share above 0% and below 50%, such as 0.1%")
        return value


def _spare_kind(value: Any) -> str | None:
    """Return the tag of the notation that a value has, or None if it has none of the three."""
    if isinstance(value, str | Share):
        return SPARE_TAGS[1]
    if isinstance(value, dict | RefusalTarget):
        return SPARE_TAGS[2]
    return SPARE_TAGS[0] if type(value) is int else None


SPARE_TAGS = ("(seats)", "(share)", "(refusal target)")


Spare = Annotated[
    Annotated[Count, Tag(SPARE_TAGS[0])]
    | Annotated[SpareShare, Tag(SPARE_TAGS[1])]
    | Annotated[RefusalTarget, Tag(SPARE_TAGS[2])],
    Discriminator(
        _spare_kind,
        custom_error_type="spare",
        custom_error_message="expected free seats (10), a share (25%) or {refuse: 0.1%}",
    ),
]


class LearnedSeats(Model):
    """The first guess and the bounds of seats that are learned from the load of the pods."""

    first: AtLeastOne = Field(description="Seats until enough is known of the load of sessions.")
    min: AtLeastOne = Field(description="Minimum number of seats.")
    max: AtLeastOne = Field(description="Maximum number of seats.")

    @model_validator(mode="after")
    def _ordered(self) -> LearnedSeats:
        if not self.min <= self.first <= self.max:
            values = f"min {self.min}, first {self.first} and max {self.max}"
            raise ValueError(f"got {values}, expected min <= first <= max")
        return self


AUTO = "auto"
_NO_LEARN = "`seats: auto` needs a first guess and bounds: learn: {first: 10, min: 5, max: 40}"


class SessionsMetric(Model):
    """Scale so that every connected session has a seat and `spare` seats stay free.

    seats: the first guess, where they are learned.
    """

    type: Literal["sessions"]
    seats: Annotated[
        AtLeastOne,
        WithJsonSchema(
            {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_REPLICAS}, {"const": AUTO}]}
        ),
    ] = Field(
        description="Number of sessions that one pod may hold; `auto`: learned from the load of "
        "the pods."
    )
    learn: LearnedSeats | None = Field(
        default=None, description="First guess and bounds of `seats: auto`."
    )
    spare: Spare = Field(
        default=0,
        description="Free seats to keep: a number, a share of the sessions, or {refuse: 0.1%}.",
    )

    @model_validator(mode="before")
    @classmethod
    def _first_guess(cls, values: Any) -> Any:
        """Put the first guess in the place of `auto`; what is wrong with it is told of itself."""
        if not isinstance(values, dict) or values.get("seats") != AUTO:
            if isinstance(values, dict) and values.get("learn") is not None:
                raise ValueError("learn is for `seats: auto`: expected no learn")
            return values
        learn = values.get("learn")
        if learn is None:
            raise ValueError(_NO_LEARN)
        first = learn.get("first") if isinstance(learn, dict) else getattr(learn, "first", None)
        usable = type(first) is int and 1 <= first <= MAX_REPLICAS
        return {**values, "seats": first if usable else 1}

    @field_serializer("seats", when_used="json")
    def _as_written(self, seats: int) -> int | str:
        return seats if self.learn is None else AUTO

    def with_seats(self, seats: int) -> SessionsMetric:
        """Return the metric with a number of seats in place of those that are learned."""
        own = {name: getattr(self, name) for name in type(self).model_fields}
        chosen = self.model_fields_set - {"learn"}
        return SessionsMetric.model_construct(chosen, **own | {"seats": seats, "learn": None})

    def with_first(self, seats: int) -> SessionsMetric:
        """Return the metric with another first guess, and bounds that include it, if it learns."""
        if self.learn is None:
            return self
        bounds = {"min": min(self.learn.min, seats), "max": max(self.learn.max, seats)}
        own = {name: getattr(self, name) for name in self.model_fields_set}
        return SessionsMetric(**own | {"seats": AUTO, "learn": {"first": seats, **bounds}})

    @property
    def forecasts(self) -> bool:
        """Whether the weeks before count; where the policy says the seats, for open pods alone."""
        return forecasts(self.spare)


def forecasts(spare: Spare) -> bool:
    """Return whether the weeks before count for spare seats that are said so."""
    return not isinstance(spare, RefusalTarget) or spare.forecast == "weekly"


_UTILIZATION: Any = Field(
    description="Target for the average utilization of the pods, such as 70%."
)


_SOURCE: Any = Field(
    default="exporter",
    description="Source of the measurement: the exporter in the pod, or cAdvisor.",
)


class CpuMetric(Model):
    """Scale by the CPU of the pods in percent of their requests, as HPA v2 does."""

    type: Literal["cpu"]
    utilization: WholePercent = _UTILIZATION
    source: Source = _SOURCE


class MemoryMetric(Model):
    """Scale up by the working set of the pods in percent of their limit; never hold replicas."""

    type: Literal["memory"]
    utilization: WholePercent = _UTILIZATION
    source: Source = _SOURCE


class PrometheusMetric(Model):
    """Scale by a PromQL query that returns one number."""

    type: Literal["prometheus"]
    query: Annotated[str, Field(min_length=1, max_length=10_000)] = Field(
        description="PromQL query that returns one number."
    )
    per_replica: Amount | None = Field(
        default=None,
        description="Target for the result divided by the replicas (HPA's AverageValue).",
    )
    value: Amount | None = Field(
        default=None, description="Target for the result itself (HPA's Value)."
    )

    @field_validator("query")
    @classmethod
    def _filled_in(cls, value: str) -> str:
        if found := _PLACEHOLDER.search(value):
            raise ValueError(f"{found[0]!r} is a placeholder, expected PromQL, such as [5m]")
        return value

    @model_validator(mode="after")
    def _one_target(self) -> PrometheusMetric:
        if (self.per_replica is None) == (self.value is None):
            raise ValueError("expected exactly one of perReplica and value")
        return self


Metric = Annotated[
    SessionsMetric | CpuMetric | MemoryMetric | PrometheusMetric, Field(discriminator="type")
]
