"""A scaling policy: the YAML that people edit, as frozen models.

Unknown keys are refused, and each message says what was expected. `adapters.policy_files` reads
files into these and adds the file, the line and the path to every error.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WrapSerializer,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from autoscaler.model import TargetRef
from autoscaler.quantities import DAYS as DAYS
from autoscaler.quantities import (
    ClockTime,
    Days,
    Deadline,
    Duration,
    Percent,
    Ratio,
    Share,
    SpareShare,
    WholePercent,
    duration_text,
)

_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
MAX_REPLICAS = 100_000

Count = Annotated[int, Field(strict=True, ge=0, le=MAX_REPLICAS)]
AtLeastOne = Annotated[int, Field(strict=True, ge=1, le=MAX_REPLICAS)]
AboveZero = Annotated[float, Field(strict=True, gt=0)]
Name = Annotated[str, Field(strict=True, pattern=_NAME, max_length=63)]
Source = Literal["exporter", "cadvisor"]


class Model(BaseModel):
    """Frozen, camelCase in YAML, no unknown keys, no NaN."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        allow_inf_nan=False,
        validate_default=False,
        # One validator for a whole policy instead of one for each class: 60 ms less to start.
        defer_build=True,
    )


def _duration(default: float, description: str) -> Any:
    """A field with a default in seconds, which the schema shows as it is written."""
    extra: JsonDict = {"default": duration_text(default)}
    return Field(default=default, description=description, json_schema_extra=extra)


class Target(Model):
    """The Deployment to scale."""

    namespace: Name = Field(description="Namespace of the Deployment.")
    deployment: Name = Field(description="Name of the Deployment.")

    @property
    def ref(self) -> TargetRef:
        """The target as the rest of the program names it."""
        return TargetRef(self.namespace, self.deployment)


class Replicas(Model):
    """Bounds that no metric can leave."""

    min: AtLeastOne
    max: AtLeastOne

    @model_validator(mode="after")
    def _ordered(self) -> Replicas:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max}): expected min <= max")
        return self


class RefusalTarget(Model):
    """Spare seats sized by the share of users who may find no free seat."""

    refuse: Percent = Field(description="Share of new users who may find no free seat.")
    lead_time: Duration = _duration(60.0, "From a decision to a Ready pod.")

    @field_validator("refuse")
    @classmethod
    def _between(cls, value: float) -> float:
        if not 0 < value < 50:
            raise ValueError("expected a share above 0% and below 50%, such as 0.1%")
        return value


def _spare_kind(value: Any) -> str | None:
    """Which of the three notations a value is written in; None: in none of them."""
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


class SessionsMetric(Model):
    """Replicas so that every connected session has a seat and `spare` seats stay free."""

    type: Literal["sessions"]
    seats: AtLeastOne = Field(description="Sessions that one pod may hold.")
    spare: Spare = Field(
        default=0,
        description="Free seats to keep: a number, a share of the sessions, or {refuse: 0.1%}.",
    )


_UTILIZATION: Any = Field(description="Target for the average of the pods, in whole percent.")
_SOURCE: Any = Field(
    default="exporter",
    description="Who measures: the exporter beside the app, or cAdvisor through Prometheus.",
)


class CpuMetric(Model):
    """CPU of the pods as a percentage of their requests, as HPA v2 computes it."""

    type: Literal["cpu"]
    utilization: WholePercent = _UTILIZATION
    source: Source = _SOURCE


class MemoryMetric(Model):
    """Working set of the pods as a percentage of their limit. Adds replicas, never keeps them."""

    type: Literal["memory"]
    utilization: WholePercent = _UTILIZATION
    source: Source = _SOURCE


class PrometheusMetric(Model):
    """Any query that returns one number, shared out over the replicas."""

    type: Literal["prometheus"]
    query: Annotated[str, Field(min_length=1, max_length=10_000)] = Field(
        description="PromQL that gives one number."
    )
    per_replica: AboveZero | None = Field(
        default=None, description="Scale so that each replica has this much of the result."
    )
    value: AboveZero | None = Field(
        default=None, description="Scale so that the result comes to this number."
    )

    @model_validator(mode="after")
    def _one_target(self) -> PrometheusMetric:
        if (self.per_replica is None) == (self.value is None):
            raise ValueError("expected exactly one of perReplica and value")
        return self


Metric = Annotated[
    SessionsMetric | CpuMetric | MemoryMetric | PrometheusMetric, Field(discriminator="type")
]


class RatePolicy(Model):
    """At most `value` pods or percent of change in `periodSeconds`."""

    type: Literal["Pods", "Percent"]
    value: AtLeastOne
    period_seconds: Annotated[int, Field(strict=True, ge=1, le=1_800)]


class ScalingRules(Model):
    """One direction of HPA's behavior stanza."""

    stabilization_window_seconds: Annotated[int, Field(strict=True, ge=0, le=3_600)] | None = None
    select_policy: Literal["Max", "Min", "Disabled"] = "Max"
    policies: tuple[RatePolicy, ...] = ()
    tolerance: Ratio | None = None


class Behavior(Model):
    """HPA's `spec.behavior`, verbatim: unset fields mean what they mean there."""

    scale_up: ScalingRules = ScalingRules()
    scale_down: ScalingRules = ScalingRules()


class Cooldown(Model):
    """Rest after a change in the same direction."""

    up: Duration = _duration(0.0, "Rest after replicas were added.")
    down: Duration = _duration(0.0, "Rest after replicas were removed.")


class Drain(Model):
    """How a pod is emptied of its sessions before it is removed."""

    # None: wait for the last session, however long it stays.
    deadline: Deadline = Field(
        default=None,
        description="After how long a pod goes although it has sessions, if nobody uses them now.",
        json_schema_extra={"default": "never"},
    )
    hard_deadline: Deadline = Field(
        default=None,
        description="After how long a pod goes although its sessions are in use, or never.",
        json_schema_extra={"default": "never"},
    )
    settle: Duration = _duration(
        15.0, "How long users may still arrive after a cordon: endpoints, and pages that load."
    )
    reconnect: Duration = _duration(
        30.0, "How long a user whose connection broke may take to come back."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Drain:
        soft, hard = self.deadline, self.hard_deadline
        if soft is not None and hard is not None and hard < soft:
            said = f"hardDeadline ({duration_text(hard)}) is before deadline"
            raise ValueError(f"{said} ({duration_text(soft)}): expected deadline <= hardDeadline")
        return self


class Recycle(Model):
    """Replaces pods that are worn: what they leak then leaves with their last session."""

    memory: Percent | None = Field(default=None, description="Of the memory limit.")
    age: Duration | None = Field(default=None, description="Since the pod was created.")

    @model_validator(mode="after")
    def _something(self) -> Recycle:
        if self.memory is None and self.age is None:
            raise ValueError("expected memory, age or both, such as {memory: 85%, age: 24h}")
        if self.memory is not None and not 0 < self.memory <= 100:
            raise ValueError("expected memory above 0% and up to 100%")
        return self


def _drain(value: Any) -> Any:
    if value == "none":
        return None
    # An empty `drain:` must not mean "none", which ends sessions.
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


class Window(Model):
    """Other bounds at certain hours. A window whose `to` is not after its `from` ends next day."""

    days: Days = Field(
        default=DAYS,
        description="Days on which the window starts.",
        json_schema_extra={"default": "mon-sun"},
    )
    start: ClockTime = Field(alias="from", description="When it starts, in quotes.")
    end: ClockTime = Field(alias="to", description="When it ends, in quotes.")
    timezone: str = Field(default="UTC", description="Such as Europe/Berlin.")
    min: AtLeastOne | None = Field(default=None, description="Lowest number of replicas in it.")
    max: AtLeastOne | None = Field(default=None, description="Highest number of replicas in it.")

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("expected a time zone name, such as Europe/Berlin") from None
        return value

    @model_validator(mode="after")
    def _bounds(self) -> Window:
        if self.min is None and self.max is None:
            raise ValueError("expected min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max}): expected min <= max")
        return self


class Fallback(Model):
    """The floor when no metric has been readable for `after`; it never lowers the count."""

    after: Duration = Field(description="For how long no metric was readable.")
    replicas: AtLeastOne = Field(description="Replicas to have at least from then on.")


class Policy(Model):
    """One policy for one target."""

    name: Name = Field(description="Name of the policy in logs, Events and metrics.")
    target: Target
    replicas: Replicas
    metrics: Annotated[tuple[Metric, ...], Field(max_length=20)] = Field(
        description="What to scale by; the highest number wins.", json_schema_extra={"minItems": 1}
    )
    interval: Duration = _duration(2.0, "How often to decide.")
    behavior: Behavior | None = Field(
        default=None, description="The `spec.behavior` of an HPA, with the same meaning."
    )
    cooldown: Cooldown = Cooldown()
    drain: DrainOrNone = Field(
        default=Drain(),
        description="Empty a pod before it is removed; `none` removes pods at once, like HPA.",
    )
    recycle: Recycle | None = Field(
        default=None, description="Replace worn pods, one at a time; needs `drain`."
    )
    schedule: tuple[Window, ...] = Field(
        default=(), description="Other bounds at certain hours; the highest min of them wins."
    )
    fallback: Fallback | None = Field(
        default=None, description="What to do when no metric has been readable for a while."
    )

    @field_validator("interval")
    @classmethod
    def _interval(cls, value: float) -> float:
        if not 1 <= value <= 3_600:
            raise ValueError("expected an interval from 1s to 1h")
        return value

    @field_validator("metrics")
    @classmethod
    def _one_of_a_kind(cls, metrics: tuple[Any, ...]) -> tuple[Any, ...]:
        if not metrics:
            raise ValueError("expected at least one metric")
        kinds = [metric.type for metric in metrics if metric.type != "prometheus"]
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise ValueError(f"expected at most one {kind} metric, got {kinds.count(kind)}")
        return metrics

    @model_validator(mode="after")
    def _recycles_by_drains(self) -> Policy:
        if self.recycle is not None and self.drain is None:
            raise ValueError("recycle empties pods before they go: expected no `drain: none`")
        return self

    @property
    def sessions(self) -> SessionsMetric | None:
        """The session metric, if this policy has one."""
        return next((m for m in self.metrics if isinstance(m, SessionsMetric)), None)
