"""What the controller needs of the world: small interfaces, one adapter each.

Every method raises only `autoscaler.errors`. An adapter bounds every call in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from autoscaler.errors import AutoscalerError
from autoscaler.model import Occupancy, PodNote, PodState, Sample, TargetRef, Unavailable
from autoscaler.policy import Policy

Signal = Literal["sessions", "cpu", "memory"]
SIGNALS: tuple[Signal, ...] = ("sessions", "cpu", "memory")


@dataclass(frozen=True, slots=True)
class TargetState:
    """A Deployment and its pods as the cluster tells them; pods carry no samples yet.

    rival: another autoscaler that scales it too, as its kind and name.
    """

    ref: TargetRef
    uid: str
    resource_version: str
    replicas: int
    status_replicas: int
    pods: tuple[PodState, ...] = ()
    rollout_in_progress: bool = False
    rival: str | None = None


@dataclass(frozen=True, slots=True)
class Readings:
    """Every sample of one pass, for all targets at once.

    samples: (signal, source) to (namespace, pod) to its sample; a pod that is absent has no data.
    external: query text to its single sample or why there is none.
    failed: (signal, source) to why the whole signal could not be read.
    """

    samples: Mapping[tuple[Signal, str], Mapping[tuple[str, str], Sample]] = field(
        default_factory=dict
    )
    external: Mapping[str, Sample | Unavailable] = field(default_factory=dict)
    failed: Mapping[tuple[Signal, str], str] = field(default_factory=dict)


class MetricsSource(Protocol):
    """Prometheus, or the exporters read directly."""

    def read(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
    ) -> Readings:
        """All pods' samples of the given (signal, source) pairs, and the external queries.

        Costs a number of requests that does not depend on the number of targets. Never raises for
        a bad answer: what could not be read is in `failed` or is an `Unavailable`.
        """


class Cluster(Protocol):
    """Kubernetes, or the local process table."""

    def observe(
        self, refs: Iterable[TargetRef]
    ) -> Mapping[TargetRef, TargetState | AutoscalerError]:
        """The present state of every target, or the error that kept it from being read."""

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        """Set spec.replicas if the target is still as `state` saw it.

        Raises ConflictError, ForbiddenError, TargetNotFoundError or ClusterError.
        """

    def note(self, state: TargetState, pod: PodState, note: PodNote) -> None:
        """Make one pod carry the note, whatever it carried; nothing to do if the pod is gone.

        Raises ConflictError if its name is another pod's by now, ForbiddenError or ClusterError.
        """

    def announce(self, state: TargetState, reason: str, message: str, *, warning: bool) -> None:
        """Leave an Event on the target. Raises ClusterError."""


class Sidecars(Protocol):
    """The exporters in the pods, asked directly: newer than any scrape."""

    def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy]:
        """By uid what each pod's own sidecar says now; one that does not answer in time is absent.

        Asks all side by side and never raises.
        """


class Standing(NamedTuple):
    """Whether this daemon may act in a namespace, in words too.

    stands_by: another daemon acts there, and all is well. Neither: the Lease cannot be had or
    renewed, and nothing may be changed there.
    """

    leads: bool
    detail: str = ""
    stands_by: bool = False


class Leadership(Protocol):
    """Which daemon acts where, so that no two scale by the same policies."""

    def seek(self, namespaces: Iterable[str]) -> Mapping[str, Standing]:
        """Begin a pass: where this daemon may act from now on. Never raises.

        It tries to lead in these namespaces and gives up all others. One that is absent from the
        answer needs no leadership.
        """

    def confirm(self, namespace: str) -> None:
        """Raises LeaseError unless this daemon has led there since the pass began."""

    def commit(self, namespace: str) -> None:
        """Write what is remembered of the namespace, and confirm by that.

        Raises LeaseError, or what keeps it from being written.
        """


@dataclass(frozen=True, slots=True)
class PolicySet:
    """The policies in force and, for each file that cannot be used, what is wrong with it.

    problems: file name to its messages; its last good version stays in `policies`.
    files: policy name to the file that it comes from.
    """

    policies: tuple[Policy, ...] = ()
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


class PolicySource(Protocol):
    """Where policies come from; called at every pass, cheap when nothing changed."""

    def load(self) -> PolicySet:
        """The policies in force now."""


class Clock(Protocol):
    """The wall clock, and how far it was stepped."""

    def now(self) -> float:
        """Unix seconds."""

    def stepped(self) -> float:
        """Seconds by which the wall clock was set since the last call, beyond its own running."""
