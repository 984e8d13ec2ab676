"""The interfaces between the controller and the outside world, with one adapter each.

Methods raise only `autoscaler.errors`, and an adapter limits the time of every call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from autoscaler.errors import AutoscalerError
from autoscaler.model import Occupancy, PodLoad, PodMarks, PodState, Sample, TargetRef, Unavailable
from autoscaler.policy import Policy

Signal = Literal[
    "sessions", "seats", "cpu", "memory", "memory_limit", "arrivals", "departures", "oldest_session"
]


@dataclass(frozen=True, slots=True)
class TargetState:
    """A Deployment and its pods, as read from the cluster; the pods have no samples yet.

    other_autoscaler: kind and name of another autoscaler that scales the same target, if any.
    replicas_writer: the last other writer of spec.replicas; "" if we wrote it, or it is unknown.
    not_created: why Kubernetes creates no further pod, such as a quota; "" if it does.
    paused: spec.paused, so that a rollout does not go on.
    pause: what the annotation that pauses the autoscaler says; None: it does not pause.
    confirmed_at: if it is from a cache, when the API server last confirmed all of it (Unix
    seconds); None: it has just been read consistently.
    same_image: names of the ReplicaSets that run the images of the newest one; none: unknown.
    """

    ref: TargetRef
    uid: str
    resource_version: str
    replicas: int
    status_replicas: int
    pods: tuple[PodState, ...] = ()
    rollout_in_progress: bool = False
    paused: bool = False
    pause: str | None = None
    other_autoscaler: str | None = None
    replicas_writer: str = ""
    not_created: str = ""
    confirmed_at: float | None = field(default=None, compare=False)
    same_image: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class Readings:
    """All samples of one pass, for all targets.

    samples: by (signal, source), then by (namespace, pod); a pod without data is absent. Those of
    `seats` come with those of `sessions`; an older exporter has none.
    containers: by (namespace, pod), the memory of each container, if cAdvisor is the source.
    external: by query text, its single sample or why there is none.
    failed: by (signal, source), why the whole signal could not be read.
    hints: by (signal, source), the likely reason for absent pods, such as a missing label.
    fresh_for: age in seconds above which the source left samples out.
    """

    samples: Mapping[tuple[Signal, str], Mapping[tuple[str, str], Sample]] = field(
        default_factory=dict
    )
    external: Mapping[str, Sample | Unavailable] = field(default_factory=dict)
    failed: Mapping[tuple[Signal, str], str] = field(default_factory=dict)
    containers: Mapping[tuple[str, str], Mapping[str, Sample]] = field(default_factory=dict)
    hints: Mapping[tuple[Signal, str], str] = field(default_factory=dict)
    fresh_for: float = 30.0


class MetricsSource(Protocol):
    """Prometheus, or the exporters read directly."""

    def read(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
    ) -> Readings:
        """Return all pods' samples of the given (signal, source) pairs and queries.

        The number of requests does not depend on the number of targets. Never raises for a bad
        answer: a failure is in `failed`, or is an `Unavailable`. now: in Unix seconds.
        """


class ArrivalHistory(Protocol):
    """What Prometheus has recorded of who came."""

    def arrivals(self, ref: TargetRef, end: float, span: float, slot: int) -> Mapping[int, float]:
        """Return the arrivals a second of a target, by the numbers of slots of `slot` seconds.

        They are counted from the beginning of Unix time; those that end in the last `span` seconds
        before `end`. A slot of which nothing is recorded is absent. It may take minutes. Raises
        MetricsError.
        """


class LoadHistory(Protocol):
    """What Prometheus has recorded of how much pods had to do."""

    def loads(
        self, ref: TargetRef, end: float, span: float, step: int
    ) -> Mapping[str, Sequence[PodLoad]]:
        """Return the loads of all pods of a target, by name, in the order of time.

        They are `step` seconds apart, in the last `span` seconds before `end`. A time at which the
        sessions of a pod are unknown has none. It may take minutes. Raises MetricsError.
        """


class Cluster(Protocol):
    """Kubernetes, or the demo's local processes."""

    def observe(
        self, refs: Iterable[TargetRef]
    ) -> Mapping[TargetRef, TargetState | AutoscalerError]:
        """Return the state of every target, which may be from a cache, or why it is unknown.

        What was read or written before is never followed by something older.
        """

    def read_target(self, ref: TargetRef) -> TargetState | AutoscalerError:
        """Return the current state of a target by a consistent read, never from a cache."""

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        """Set spec.replicas, if the target has not changed since `state` was read.

        Raises ConflictError, ForbiddenError, TargetNotFoundError or ClusterError.
        """

    def mark_pod(self, state: TargetState, pod: PodState, marks: PodMarks) -> None:
        """Set the marks of a pod, replacing those that it has; does nothing if the pod is gone.

        Raises ConflictError if its name belongs to another pod by now, ForbiddenError or
        ClusterError.
        """

    def announce(
        self, ref: TargetRef, uid: str, reason: str, message: str, *, warning: bool
    ) -> None:
        """Create an Event for the target. Raises ClusterError."""


class CacheAge(NamedTuple):
    """For how many seconds the API server has not confirmed what is known of some objects.

    namespace: "" for all of them. failures: attempts to list or watch them that failed.
    """

    resource: str
    namespace: str
    seconds: float
    failures: int


class Sidecars(Protocol):
    """The exporters in the pods, asked directly, because their answers are newer than a scrape."""

    def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy | Unavailable]:
        """Return each pod's occupancy as reported by its sidecar, or why it is unknown, by UID.

        Asks all sidecars concurrently and never raises. A pod that was not asked is absent.
        """


class LeadershipStatus(NamedTuple):
    """Whether this daemon may act in a namespace, and the reason in words (`detail`).

    is_standby: another daemon is the leader there, as intended. If neither is true, the Lease could
    not be acquired or renewed, and this daemon may change nothing there. evaluated: the policies
    that the other daemon evaluates there (`leadership.label`), or None if it does not say.
    """

    is_leader: bool
    detail: str = ""
    is_standby: bool = False
    evaluated: frozenset[str] | None = None


class Leadership(Protocol):
    """Leader election for each namespace, so that no two daemons scale by the same policies."""

    def seek(
        self,
        wanted: Mapping[str, frozenset[str]],
        set_clock: Callable[[], None],
        busy: Collection[str] = (),
    ) -> Mapping[str, LeadershipStatus]:
        """Begin a pass, and return the leadership status of each namespace. Never raises.

        wanted: the policies that this daemon evaluates as the leader, by namespace. It tries to
        lead in these namespaces and gives up all others. A namespace that is absent from the result
        needs no leadership. set_clock: called before the times of a previous leader are read,
        because the answers of the API server correct the clock. busy: namespaces in which a write
        of an earlier pass is still under way, so that no other daemon may lead there yet.
        """

    def confirm(self, namespace: str) -> None:
        """Raise LeaseError unless this daemon has been the leader there since the pass began."""

    def commit(self, namespace: str) -> None:
        """Write the state of the namespace to its Lease, which also confirms the leadership.

        Raises LeaseError, or the error that prevented the write.
        """


class ResourceVersion(NamedTuple):
    """Which spec of which ScalingPolicy it is; one that is made again has another uid."""

    namespace: str
    uid: str
    generation: int


@dataclass(frozen=True, slots=True)
class PolicySet:
    """The active policies, and what is wrong with each rejected file.

    problems: messages by file name; the last valid version of such a file, if there was any, stays
    in `policies`. files: the file of each policy, by the policy's name. resources: the
    ScalingPolicies that were read, valid or not, by the names that they have in the place of a
    file. is_complete: whether all policies are known; if not, what is remembered of others is kept.
    empty: the directories of `problems` without a policy file, as before the first is written.
    """

    policies: tuple[Policy, ...] = ()
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, ResourceVersion] = field(default_factory=dict)
    is_complete: bool = True
    empty: frozenset[str] = frozenset()

    @property
    def rejected(self) -> Mapping[str, tuple[str, ...]]:
        """The problems of files, without those of directories that have none."""
        return {file: found for file, found in self.problems.items() if file not in self.empty}


@dataclass(frozen=True, slots=True)
class ResourceStatus:
    """What is told in a ScalingPolicy, the policy as a Kubernetes object.

    problems: why its spec is not in force; then the last valid one is, if there was any. active:
    whether its target is read and scaled; None: no pass has said. users: None where no pod has told
    of any.
    """

    problems: tuple[str, ...] = ()
    active: bool | None = None
    reason: str = ""
    message: str = ""
    replicas: int | None = None
    desired: int | None = None
    users: int | None = None


class PolicyResources(Protocol):
    """The policies that are Kubernetes objects, and their statuses."""

    def load(self) -> PolicySet:
        """Return the active ones, with all objects in `PolicySet.resources`."""

    def write(self, file: str, version: ResourceVersion, status: ResourceStatus) -> None:
        """Write the status of an object, unless it says the same already, or is another one now.

        file, version: as in `PolicySet.resources`. Raises ClusterError.
        """


class PolicySource(Protocol):
    """The source of policies, read in every pass; reading is cheap if nothing has changed."""

    def load(self) -> PolicySet:
        """Return the active policies."""


class Clock(Protocol):
    """The wall clock and its steps; the API server's clock if the machine's is wrong."""

    def now(self) -> float:
        """Return the time in Unix seconds."""

    def steady(self) -> float:
        """Return seconds since an arbitrary start, independent of the wall clock."""

    def stepped(self) -> float:
        """Return the seconds by which the wall clock was set since the last call."""

    def ahead(self) -> float:
        """Return the seconds by which the machine's clock is ahead of the clock in use."""
