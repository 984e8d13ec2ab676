"""The values that everything else speaks in: frozen, comparable, free of any client library.

Times are Unix seconds (float), durations seconds. A value that is not known is None or absent:
missing is never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why a number is what it is. HPA's own words where it has one.

    The same word appears in logs, Events, metric labels and the documentation.
    """

    # Limits (HPA condition ScalingLimited)
    DESIRED_WITHIN_RANGE = "DesiredWithinRange"
    TOO_FEW_REPLICAS = "TooFewReplicas"
    TOO_MANY_REPLICAS = "TooManyReplicas"
    SCALE_UP_LIMIT = "ScaleUpLimit"
    SCALE_DOWN_LIMIT = "ScaleDownLimit"
    # Windows (HPA condition AbleToScale)
    SCALE_UP_STABILIZED = "ScaleUpStabilized"
    SCALE_DOWN_STABILIZED = "ScaleDownStabilized"
    READY_FOR_NEW_SCALE = "ReadyForNewScale"
    # Metrics (HPA condition ScalingActive)
    VALID_METRIC_FOUND = "ValidMetricFound"
    SCALING_DISABLED = "ScalingDisabled"
    FAILED_GET_RESOURCE_METRIC = "FailedGetResourceMetric"
    FAILED_GET_SESSIONS_METRIC = "FailedGetSessionsMetric"
    FAILED_GET_EXTERNAL_METRIC = "FailedGetExternalMetric"
    FAILED_COMPUTE_METRICS_REPLICAS = "FailedComputeMetricsReplicas"
    # Ours
    PARTIAL_DATA = "PartialData"
    FALLBACK = "Fallback"
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    SCHEDULED_MINIMUM = "ScheduledMinimum"
    SCHEDULED_MAXIMUM = "ScheduledMaximum"
    COOLDOWN_UP = "CooldownUp"
    COOLDOWN_DOWN = "CooldownDown"
    # Drains
    SESSIONS_STILL_OPEN = "SessionsStillOpen"
    DRAINED = "Drained"
    UNCORDONED = "Uncordoned"
    DRAIN_DEADLINE_EXCEEDED = "DrainDeadlineExceeded"
    RECYCLING = "Recycling"
    DELETION_ORDER_UNCERTAIN = "DeletionOrderUncertain"
    FOREIGN_DELETION_COST = "ForeignDeletionCost"
    VICTIM_MISMATCH = "VictimMismatch"
    OTHER_AUTOSCALER = "OtherAutoscaler"
    NOT_CORDONABLE = "NotCordonable"


class TargetRef(NamedTuple):
    """The scale target: one Deployment."""

    namespace: str
    deployment: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.deployment}"


class Sample(NamedTuple):
    """One reading of one pod (or of one query), with the time at which it was taken.

    value: whole sessions for sessions, milli-units for everything else (half a core is 500),
        because HPA computes in integers and so must we to agree with it.
    at: Unix seconds of the sample itself, not of the query.
    window: seconds over which a rate was taken; 0 for a gauge.
    """

    value: int
    at: float
    window: float = 0.0


class Unavailable(NamedTuple):
    """A reading that could not be had, and why, in one line for the reader."""

    message: str


class Resources(NamedTuple):
    """What a pod's containers ask for and may use, in milli-units; None: a container has none."""

    cpu_request: int | None = None
    memory_request: int | None = None
    memory_limit: int | None = None


_NO_RESOURCES = Resources()


class Cause(StrEnum):
    """Why a pod is cordoned: to go once it is empty, or only until it has room again."""

    SHRINK = "shrink"
    HOT = "hot"


class Cordon(NamedTuple):
    """Our note on a pod that gets no new sessions: why, and since when (Unix seconds)."""

    cause: Cause
    at: float


class PodNote(NamedTuple):
    """What a pod shall carry for us: whether users may come, the cordon, its deletion cost.

    protected: node autoscalers shall not evict it, for it has users.
    """

    routable: bool
    cordon: Cordon | None = None
    cost: int | None = None
    protected: bool = False


class Occupancy(NamedTuple):
    """What a pod's own sidecar says when asked directly, which is newer than any scrape.

    live: connections of users that answer. opening: sessions being created, pages still loading.
    blocked: sessions without a user whose work must not be cut. quiet_for, idle_for: seconds since
    the last disconnect and since the last message of a client; None: never.
    """

    live: int
    opening: int = 0
    blocked: int = 0
    quiet_for: float | None = None
    idle_for: float | None = None


@dataclass(frozen=True, slots=True)
class PodState:
    """One pod of the target as the API server and its exporter tell it.

    ready is None where the pod has no Ready condition yet; ready_since is that condition's last
    transition in either direction. routable: new sessions may be sent to it. labelled: by a label
    that Services can select by; without it a cordon keeps nobody away.
    node: "" while it has none. restarts: the most of any container. replica_set: its owner's uid.
    cost_is_ours: the deletion cost was written by this daemon. cost_writer: who wrote it else.
    stray_mark: our note of a cost is there and that cost no longer is.
    occupancy: only of cordoned pods; None: not asked or no answer, which counts as busy.
    """

    name: str
    uid: str = ""
    phase: str = "Running"
    ready: bool | None = True
    ready_since: float | None = None
    started_at: float | None = None
    created_at: float | None = None
    deleting: bool = False
    routable: bool = True
    labelled: bool = True
    resources: Resources = _NO_RESOURCES
    sessions: Sample | None = None
    cpu: Sample | None = None
    memory: Sample | None = None
    ip: str | None = None
    node: str = ""
    restarts: int = 0
    sidecar_restarts: int = 0
    replica_set: str = ""
    deletion_cost: int | None = None
    cost_is_ours: bool = False
    cost_writer: str = ""
    stray_mark: bool = False
    cordon: Cordon | None = None
    protected: bool = False
    occupancy: Occupancy | None = None

    @property
    def serving(self) -> bool:
        """Whether the pod can hold sessions: running, ready and not on its way out."""
        return self.phase == "Running" and self.ready is True and not self.deleting


@dataclass(frozen=True, slots=True)
class Observation:
    """What one pass saw of one target. `decide` reads this and nothing else of the world.

    replicas: spec.replicas of the scale; status_replicas: how many the target says exist.
    unavailable: signal name ("sessions", "cpu", "memory") to why the whole signal is missing.
    external: query text to its single sample, or why there is none.
    rival: another autoscaler of the same target.
    """

    replicas: int
    pods: tuple[PodState, ...] = ()
    status_replicas: int | None = None
    external: Mapping[str, Sample | Unavailable] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)
    rollout_in_progress: bool = False
    rival: str | None = None
    uid: str = ""
    resource_version: str = ""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One metric's number before behavior, or why it has none.

    replicas is None exactly where `problem` says what is missing.
    """

    metric: str
    replicas: int | None
    detail: str
    reason: Reason = Reason.VALID_METRIC_FOUND
    complete: bool = True

    @property
    def problem(self) -> str | None:
        """Why this metric gave no number; None where it did."""
        return self.detail if self.replicas is None else None


class Step(NamedTuple):
    """One step of the pipeline that moved the number or held it: the audit trail of a decision."""

    reason: Reason
    replicas: int
    detail: str


@dataclass(frozen=True, slots=True)
class DrainPlan:
    """What one pass does to the pods, and the replica count that goes with it.

    notes: pods and what they shall carry from now on. remove: the pods that the lower count
    removes; empty where it is not lowered.
    """

    replicas: int
    notes: tuple[tuple[PodState, PodNote], ...] = ()
    remove: tuple[PodState, ...] = ()
    steps: tuple[Step, ...] = ()


class Removal(NamedTuple):
    """A shrink whose end has not been seen yet: who must go, who must stay, with their users.

    victims, others: uid to the sessions that end with the pod.
    """

    victims: Mapping[str, int]
    others: Mapping[str, int]
    at: float


class Confirmation(NamedTuple):
    """How a shrink ended. cut: sessions that ended with it. mismatch: another pod went instead."""

    removed: int
    cut: int = 0
    mismatch: bool = False


class Logged(NamedTuple):
    """A recommendation, or a change of the replica count, and when it was made."""

    replicas: int
    at: float


@dataclass(frozen=True, slots=True)
class State:
    """What the next decision must remember of the earlier ones. Values in, values out.

    recommendations: raw recommendations, as HPA logs them for its windows.
    scale_ups, scale_downs: changes made (positive sizes), for rate policies.
    last_scale_up, last_scale_down: for cooldowns.
    blind_since: since when no metric gave a number; None while one does.
    seen_at: when the target was last looked at.
    removal: the last shrink while its end is not seen. mismatch_at: when another pod went instead.
    """

    recommendations: tuple[Logged, ...] = ()
    scale_ups: tuple[Logged, ...] = ()
    scale_downs: tuple[Logged, ...] = ()
    last_scale_up: float | None = None
    last_scale_down: float | None = None
    blind_since: float | None = None
    seen_at: float | None = None
    traffic: Traffic | None = None
    removal: Removal | None = None
    mismatch_at: float | None = None

    def shifted(self, seconds: float) -> State:
        """The same memory on a clock that was stepped by `seconds` (either direction)."""

        def move(at: float | None) -> float | None:
            return None if at is None else at + seconds

        def move_all(log: tuple[Logged, ...]) -> tuple[Logged, ...]:
            return tuple(Logged(entry.replicas, entry.at + seconds) for entry in log)

        return replace(
            self,
            recommendations=move_all(self.recommendations),
            scale_ups=move_all(self.scale_ups),
            scale_downs=move_all(self.scale_downs),
            last_scale_up=move(self.last_scale_up),
            last_scale_down=move(self.last_scale_down),
            blind_since=move(self.blind_since),
            seen_at=move(self.seen_at),
            removal=self.removal and self.removal._replace(at=self.removal.at + seconds),
            mismatch_at=move(self.mismatch_at),
            traffic=self.traffic and self.traffic._replace(at=self.traffic.at + seconds),
        )


class Traffic(NamedTuple):
    """Smoothed arrivals and departures of sessions a second, seen from the counts of two passes.

    connected and at are the last count and its time.
    """

    connected: int
    at: float
    arrivals: float = 0.0
    departures: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """The final number and how it came about.

    steps tell every move in order; the last one is the reason to show where there is room for one.
    drain: what happens to the pods; None where pods are not drained. confirmed: how the last shrink
    ended, in the pass that saw its end.
    """

    current: int
    desired: int
    steps: tuple[Step, ...] = ()
    recommendations: tuple[Recommendation, ...] = ()
    drain: DrainPlan | None = None
    confirmed: Confirmation | None = None

    @property
    def direction(self) -> str:
        """`up`, `down` or `none`."""
        if self.desired == self.current:
            return "none"
        return "up" if self.desired > self.current else "down"

    @property
    def reason(self) -> Reason:
        """The last word of the pipeline."""
        return self.steps[-1].reason if self.steps else Reason.DESIRED_WITHIN_RANGE

    @property
    def detail(self) -> str:
        """One line for an Event or a log."""
        return self.steps[-1].detail if self.steps else "nothing to change"
