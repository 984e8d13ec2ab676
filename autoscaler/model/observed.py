"""What one pass sees: pods, their samples and what their sidecars say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

# When a session began is told in multiples of so many seconds, or it changed with each scrape.
BEGINNING_STEP = 10


class TargetRef(NamedTuple):
    """The scale target: one Deployment."""

    namespace: str
    deployment: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.deployment}"


class Sample(NamedTuple):
    """One reading of one pod (or of one query), with the time at which it was taken.

    value: whole sessions or seconds for sessions, milli-units for everything else (half a core is
        500), because HPA computes in integers and so must we to agree with it.
    at: Unix seconds of the sample itself, not of the query.
    window: seconds over which a rate was taken; 0 for a gauge.
    """

    value: int
    at: float
    window: float = 0.0

    @property
    def content(self) -> Sample | int:
        """What is decided by: of a gauge its value alone, whenever it was taken."""
        return self if self.window else self.value


class Unavailable(NamedTuple):
    """A reading that could not be had, and why, in one line for the reader."""

    message: str


class Unreachable(Unavailable):
    """No answer from a sidecar at all: the network is closed to us, or something else answers."""

    __slots__ = ()


class Resources(NamedTuple):
    """What a pod's containers ask for and may use, in milli-units; None: a container has none.

    memory_limit: of the container that serves the app; None also where the spec leaves in doubt
    which that is. memory_limits: (name, limit) of each container that may be the app's, "" for
    the limit of the whole pod.
    """

    cpu_request: int | None = None
    memory_request: int | None = None
    memory_limit: int | None = None
    memory_limits: tuple[tuple[str, int], ...] = ()


_NO_RESOURCES = Resources()


class Cause(StrEnum):
    """Why a pod is cordoned: to be deleted once drained, until it has room, or until needed."""

    SCALE_DOWN = "scale-down"
    FULL = "full"
    RESERVE = "reserve"


class Cordon(NamedTuple):
    """Our note on a pod that gets no new sessions: why, and since when (Unix seconds)."""

    cause: Cause
    at: float


class PodMarks(NamedTuple):
    """What a pod shall carry for us: whether users may come, the cordon, its deletion cost.

    protected: node autoscalers shall not evict it, for it has users.
    """

    routable: bool
    cordon: Cordon | None = None
    cost: int | None = None
    protected: bool = False


class Occupancy(NamedTuple):
    """What a pod's own sidecar says when asked directly, which is newer than any scrape.

    live: open connections. opening: sessions being created and pages still loading.
    blocked: sessions without a connection whose work must not be ended. requests: HTTP requests in
    flight. empty_for: seconds since the last sign of a user by the exporter's own definition; None
    while somebody is there, and where the exporter cannot tell. idle_for: seconds since the last
    message of a client; None: never. may_close: sessions of which the app has said that their pages
    may be closed; until they are, they count as any other. released: sessions closed since the
    server began because nobody used their page; None where the exporter does not count them.
    """

    live: int
    opening: int = 0
    blocked: int = 0
    requests: int = 0
    empty_for: float | None = None
    idle_for: float | None = None
    may_close: int = 0
    released: int | None = None


@dataclass(frozen=True, slots=True)
class PodState:
    """One pod of the target as the API server and its exporter tell it.

    ready is None where the pod has no Ready condition yet; ready_since is that condition's last
    transition in either direction. routable: new sessions may be sent to it. labelled: by a label
    that Services can select by; without it a cordon keeps nobody away.
    memory_limit: measured where `memory` was, in milli-bytes. arrivals, departures: users who came
    and left in thousandths a second, as the exporter counts them. oldest_session: when the
    oldest session with a connection began, in Unix seconds and multiples of BEGINNING_STEP.
    seats: that the sessions take, rounded up, if it is another number than theirs.
    scheduled_at: when it got its node. node: "" while it has none. zone: "" if no label tells it.
    restarts: the most of any container. replica_set: its owner's uid.
    label_writer: who else set the label of a pod that is or was cordoned, and when; "" for us.
    cost_is_ours: the deletion cost was written by this daemon. cost_writer: who wrote it else.
    stray_mark: our note of a cost is there and that cost no longer is.
    unreadable: what it carries that counts as absent, for it cannot be read, each as KEY "VALUE".
    occupancy: only of cordoned pods; None: not asked or no answer, which counts as busy.
    silence: why a sidecar that was asked gave no answer. cut: sessions that its launcher ended,
    by its termination message; None while there is none.
    version: of its object, by which the API server refuses a change of one that changed since.
    """

    name: str
    uid: str = ""
    version: str = field(default="", compare=False)
    phase: str = "Running"
    ready: bool | None = True
    ready_since: float | None = None
    started_at: float | None = None
    created_at: float | None = None
    scheduled_at: float | None = None
    deleting: bool = False
    routable: bool = True
    labelled: bool = True
    label_writer: str = ""
    resources: Resources = _NO_RESOURCES
    sessions: Sample | None = None
    seats: Sample | None = None
    cpu: Sample | None = None
    memory: Sample | None = None
    memory_limit: int | None = None
    arrivals: Sample | None = None
    departures: Sample | None = None
    oldest_session: Sample | None = None
    ip: str | None = None
    node: str = ""
    zone: str = ""
    restarts: int = 0
    sidecar_restarts: int = 0
    replica_set: str = ""
    deletion_cost: int | None = None
    cost_is_ours: bool = False
    cost_writer: str = ""
    stray_mark: bool = False
    unreadable: tuple[str, ...] = ()
    cordon: Cordon | None = None
    protected: bool = False
    occupancy: Occupancy | None = None
    silence: str = ""
    cut: int | None = None

    @property
    def taken(self) -> Sample | None:
        """The seats that the pod's sessions take: 1 each, unless their app says another cost."""
        return self.sessions and (self.seats or self.sessions)

    @property
    def is_active(self) -> bool:
        """Whether the pod is one of its ReplicaSet's: neither ended nor being deleted.

        What is left of an evicted pod, or of one that ran to its end, holds nothing and nobody.
        """
        return not self.deleting and self.is_billed

    @property
    def is_billed(self) -> bool:
        """Whether the pod takes its resources: it starts, serves or is being deleted."""
        return self.phase not in ("Failed", "Succeeded")

    @property
    def is_cordoned_full(self) -> bool:
        """Whether we cordoned the pod only until it has room again."""
        return self._is_cordoned(Cause.FULL)

    @property
    def is_reserve(self) -> bool:
        """Whether we cordoned the pod only because new sessions have seats enough elsewhere."""
        return self._is_cordoned(Cause.RESERVE)

    @property
    def is_available(self) -> bool:
        """Whether new sessions may be sent to the pod, now or from the next pass on."""
        return self.routable or self.is_reserve

    def _is_cordoned(self, cause: Cause) -> bool:
        return not self.routable and self.cordon is not None and self.cordon.cause is cause

    @property
    def serving(self) -> bool:
        """Whether the pod can hold sessions: running, ready and not on its way out."""
        return self.phase == "Running" and self.ready is True and not self.deleting


@dataclass(frozen=True)
class Observation:
    """What one pass saw of one target. `decide` reads this and nothing else of the world.

    replicas: spec.replicas of the scale; status_replicas: how many the target says exist.
    unavailable: signal name ("sessions", "cpu", "memory") to why the whole signal is missing.
    external: query text to its single sample, or why there is none.
    hints: signal name to what may be why pods have no sample of it.
    fresh_for: seconds after which a sample is missing; a pod may take as long to have its first.
    other_autoscaler: its kind and name, where another one scales the same target. replicas_writer:
    who else wrote spec.replicas last; "" where we did, or nobody knows.
    not_created: why Kubernetes creates no further pod, such as a quota; "" if it does.
    farewells: uid to the sessions that pods which are being deleted have told of since.
    paused: whether the Deployment is paused, so that a rollout does not go on. pause: what its
    annotation that pauses the autoscaler says; None: there is none, or it says `false`.
    confirmed_at: when the API server last confirmed the target and its pods (Unix seconds), if they
    are from a cache; None: they have just been read.
    """

    replicas: int
    pods: tuple[PodState, ...] = ()
    status_replicas: int | None = None
    external: Mapping[str, Sample | Unavailable] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)
    hints: Mapping[str, str] = field(default_factory=dict)
    fresh_for: float = 30.0
    rollout_in_progress: bool = False
    paused: bool = False
    pause: str | None = None
    other_autoscaler: str | None = None
    replicas_writer: str = ""
    not_created: str = ""
    uid: str = ""
    resource_version: str = ""
    farewells: Mapping[str, int] = field(default_factory=dict)
    confirmed_at: float | None = None

    @cached_property
    def active(self) -> tuple[PodState, ...]:
        """The pods that have neither ended nor are being deleted."""
        return tuple([pod for pod in self.pods if pod.is_active])
