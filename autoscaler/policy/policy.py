"""A policy as a whole: its target, bounds and parts, and whether they fit together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from autoscaler.model import TargetRef
from autoscaler.policy.behavior import Behavior, Cooldown
from autoscaler.policy.drain import Drain, DrainOrNone, Recycle
from autoscaler.policy.fields import (
    AtLeastOne,
    Label,
    Model,
    PolicyName,
    Subdomain,
    duration_field,
)
from autoscaler.policy.metrics import (
    LearnedSeats,
    MemoryMetric,
    Metric,
    SessionsMetric,
    Spare,
    forecasts,
)
from autoscaler.policy.notations import Duration
from autoscaler.policy.notices import Idle, NoticeTexts
from autoscaler.policy.placement import Packing, Placement
from autoscaler.policy.schedule import (
    Contradiction,
    ContradictionsError,
    Window,
    contradictions,
)
from autoscaler.units import duration_text


class Target(Model):
    """The Deployment to scale."""

    namespace: Label = Field(description="Namespace of the Deployment.")
    deployment: Subdomain = Field(description="Name of the Deployment.")

    @cached_property
    def ref(self) -> TargetRef:
        """The target as the other modules refer to it."""
        return TargetRef(self.namespace, self.deployment)


class Replicas(Model):
    """Bounds that always apply, whatever the metrics say."""

    min: AtLeastOne = Field(description="Minimum number of replicas.")
    max: AtLeastOne = Field(description="Maximum number of replicas.")

    @model_validator(mode="after")
    def _ordered(self) -> Replicas:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max}): expected min <= max")
        return self


class Fallback(Model):
    """Minimum replicas while no metric can be read; it never lowers the replica count."""

    after: Duration = Field(
        description="Time for which no metric could be read before the fallback applies."
    )
    replicas: AtLeastOne = Field(description="Minimum number of replicas from then on.")


class Policy(Model):
    """One policy for one target."""

    name: PolicyName = Field(description="Name of the policy in logs, Events and metrics.")
    target: Target
    replicas: Replicas
    metrics: Annotated[tuple[Metric, ...], Field(max_length=20)] = Field(
        description="Metrics to scale by; the one that needs the most replicas wins.",
        json_schema_extra={"minItems": 1},
    )
    interval: Duration = duration_field(2.0, "Time between two decisions.")
    paused: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="Scale nothing and cordon nothing, and uncordon what the daemon cordoned.",
    )
    behavior: Behavior | None = Field(
        default=None, description="Scaling behavior, as in `spec.behavior` of an HPA."
    )
    cooldown: Cooldown = Cooldown()
    drain: DrainOrNone = Field(
        default=Drain(),
        description="Drain a pod before it is removed; `none` removes pods at once, as HPA does.",
    )
    idle: Idle | None = Field(
        default=None,
        description="Ask the users of unused pages whether they stay, and close the pages of those "
        "who do not answer; by default no page is closed.",
    )
    notices: NoticeTexts = NoticeTexts()
    placement: Placement | None = Field(
        default=None,
        description="Pods that get new users: `packed`, the fullest ones that have seats enough, "
        "while sessions decide the number; `spread`, all of them. By default `packed` if the "
        "policy has a session metric and drains its pods.",
    )
    recycle: Recycle | None = Field(
        default=None,
        description="Replace pods with much memory or of a high age, one at a time; needs `drain`.",
    )
    schedule: Annotated[tuple[Window, ...], Field(max_length=100)] = Field(
        default=(),
        description="Other values at certain hours; of several open windows the highest min, the "
        "lowest max and the last of all other values apply.",
    )
    fallback: Fallback | None = Field(
        default=None, description="Minimum replicas while no metric can be read."
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
    def _consistent(self) -> Policy:
        found = list(self._contradictions())
        if found:
            raise ContradictionsError(found)
        return self

    def _contradictions(self) -> Iterator[Contradiction]:
        """Yield the contradictions between parts of this policy."""
        if self.recycle is not None and self.drain is None:
            message = "pods are drained before they are recycled: expected no `drain: none`"
            yield Contradiction(("recycle",), message)
        most = self.replicas.max
        if self.fallback is not None and self.fallback.replicas > most:
            message = f"got {self.fallback.replicas}, expected at most replicas.max ({most})"
            yield Contradiction(("fallback", "replicas"), message)
        yield from contradictions(self.schedule, self.replicas.min, most)
        for index, window in enumerate(self.schedule):
            for path, message in self._unusable(window):
                yield Contradiction(("schedule", index, *path), message)

    def _unusable(self, window: Window) -> Iterator[Contradiction]:
        """Yield what a window sets that has no effect in this policy, by its path in the window."""
        if window.spare is not None and self.sessions is None:
            yield Contradiction(("spare",), "seats are for sessions: expected a sessions metric")
        if window.placement is not None and (self.sessions is None or self.drain is None):
            message = "sessions decide where users go: expected a sessions metric"
            yield Contradiction(("placement",), f"{message} and no `drain: none`")
        if window.drain is None:
            return
        path, deadline = ("drain", "deadline"), window.drain.deadline
        if self.drain is None:
            yield Contradiction(path, "no pod is drained: expected no `drain: none`")
            return
        hard = self.drain.hard_deadline
        if hard is not None and deadline is not None and deadline > hard:
            most = duration_text(hard)
            message = f"got {duration_text(deadline)}, expected at most drain.hardDeadline ({most})"
            yield Contradiction(path, message)

    def with_settings(self, settings: Mapping[str, Any]) -> Policy:
        """Return the policy with other values of what a window may set besides bounds.

        settings: by path, as in `Window.settings`.
        """
        values: dict[str, Any] = {}
        if "spare" in settings:
            values["metrics"] = tuple(
                each.with_values(spare=settings["spare"])
                if isinstance(each, SessionsMetric)
                else each
                for each in self.metrics
            )
        if "placement" in settings:
            values["placement"] = settings["placement"]
        if "drain.deadline" in settings and self.drain is not None:
            values["drain"] = self.drain.with_values(deadline=settings["drain.deadline"])
        return self.with_values(**values)

    def with_seats(self, seats: int) -> Policy:
        """Return the policy with a number of seats in place of those that are learned."""
        return self._with_sessions(lambda metric: metric.with_seats(seats))

    def with_first(self, seats: int) -> Policy:
        """Return the policy with another first guess of its seats, if it learns them."""
        return self._with_sessions(lambda metric: metric.with_first(seats)) if self.learn else self

    def _with_sessions(self, change: Callable[[SessionsMetric], SessionsMetric]) -> Policy:
        metrics = (
            change(each) if isinstance(each, SessionsMetric) else each for each in self.metrics
        )
        return self.with_values(metrics=tuple(metrics))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain values, as its file has them, without defaults."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @cached_property
    def sessions(self) -> SessionsMetric | None:
        """The session metric, if this policy has one."""
        return next((m for m in self.metrics if isinstance(m, SessionsMetric)), None)

    @cached_property
    def learn(self) -> LearnedSeats | None:
        """The first guess and the bounds of the seats, if they are learned."""
        return self.sessions.learn if self.sessions else None

    @cached_property
    def spares(self) -> tuple[Spare, ...]:
        """The free seats to keep, as the session metric and the windows of the schedule say."""
        windows = tuple(each.spare for each in self.schedule if each.spare is not None)
        return () if self.sessions is None else (self.sessions.spare, *windows)

    @cached_property
    def forecasts(self) -> bool:
        """Whether the weeks before count, now or in a window of the schedule."""
        return any(map(forecasts, self.spares))

    @cached_property
    def packing(self) -> Packing | None:
        """How new users are packed; None if they go to all pods."""
        if self.sessions is None or self.drain is None:
            return None
        if self.placement is None:
            return Packing()
        return self.placement if isinstance(self.placement, Packing) else None

    @cached_property
    def deadlines(self) -> tuple[float, ...]:
        """Each `drain.deadline`, of the policy and of the windows of the schedule, in seconds."""
        if self.drain is None:
            return ()
        windows = (each.drain.deadline for each in self.schedule if each.drain is not None)
        return tuple(each for each in (self.drain.deadline, *windows) if each is not None)

    @cached_property
    def ends_sessions(self) -> bool:
        """Whether a pod may be removed with sessions."""
        return self.drain is None or self.drain.hard_deadline is not None or bool(self.deadlines)

    @cached_property
    def packs(self) -> bool:
        """Whether new users are packed, now or in a window of the schedule."""
        windows = (isinstance(each.placement, Packing) for each in self.schedule)
        return self.packing is not None or any(windows)

    @cached_property
    def memory(self) -> MemoryMetric | None:
        """The memory metric, if this policy has one."""
        return next((m for m in self.metrics if isinstance(m, MemoryMetric)), None)
