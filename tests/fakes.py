"""Hand-written stateful stand-ins for the ports: they remember what was done to them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from autoscaler.core.drain.deletion_order import deletion_order
from autoscaler.core.lease import Lease, Place
from autoscaler.errors import AutoscalerError, ConflictError, LeaseError, TargetNotFoundError
from autoscaler.model import (
    Occupancy,
    PodMarks,
    PodState,
    Sample,
    TargetRef,
    Unavailable,
    Unreachable,
)
from autoscaler.policy import Policy
from autoscaler.ports import (
    LeadershipStatus,
    PolicySet,
    Readings,
    ResourceStatus,
    ResourceVersion,
    Signal,
    TargetState,
)
from tests.builders import NOW


@dataclass
class FakeClock:
    """A wall clock that moves only when told to. was_set: by how much it was set altogether."""

    at: float = NOW
    step: float = 0.0
    was_set: float = 0.0

    def now(self) -> float:
        return self.at

    def steady(self) -> float:
        return self.at - self.was_set

    def stepped(self) -> float:
        step, self.step = self.step, 0.0
        return step

    def ahead(self) -> float:
        return 0.0

    def advance(self, seconds: float) -> None:
        self.at += seconds

    def set_by(self, seconds: float) -> None:
        """Step the wall clock, as an administrator or NTP may."""
        self.at += seconds
        self.step += seconds
        self.was_set += seconds


@dataclass
class FakePolicies:
    """Policies in force, and problems of their files."""

    policies: tuple[Policy, ...]
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_complete: bool = True
    empty: frozenset[str] = frozenset()

    def load(self) -> PolicySet:
        files = {policy.name: f"{policy.name}.yaml" for policy in self.policies}
        complete, empty = self.is_complete, self.empty
        return PolicySet(self.policies, self.problems, files, is_complete=complete, empty=empty)


class FakeResources:
    """Policies by their names, and the problems of some, in the namespace bokeh.

    written: the last status of each.
    """

    def __init__(self, *policies: Policy, **problems: tuple[str, ...]) -> None:
        self.hold(*policies, **problems)
        self.written: dict[str, ResourceStatus] = {}
        self.refusals: list[AutoscalerError] = []

    def hold(
        self, *policies: Policy, uid: str = "uid", generation: int = 1, **problems: tuple[str, ...]
    ) -> None:
        files = {each.name: each.name for each in policies}
        version = ResourceVersion("bokeh", uid, generation)
        resources = dict.fromkeys([*files, *problems], version)
        self.found = PolicySet(policies, problems, files, resources)

    def load(self) -> PolicySet:
        return self.found

    def write(self, file: str, version: ResourceVersion, status: ResourceStatus) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.written[file] = status


@dataclass
class FakeCluster:
    """Deployments whose pods follow the scale at once, as a ReplicaSet would choose them.

    Also the metrics of those pods, and their sidecars: `silent` ones do not answer. `doomed` pods
    go before all others, as one does that stops being Ready at the moment of a shrink.
    """

    targets: dict[TargetRef, TargetState] = field(default_factory=dict)
    failures: dict[TargetRef, AutoscalerError] = field(default_factory=dict)
    refusals: list[AutoscalerError] = field(default_factory=list)
    events: list[tuple[TargetRef, str, str]] = field(default_factory=list)
    changes: list[tuple[TargetRef, int]] = field(default_factory=list)
    sessions: dict[tuple[str, str], int] = field(default_factory=dict)
    seats: dict[tuple[str, str], int] = field(default_factory=dict)
    failed: dict[tuple[Signal, str], str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    doomed: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)
    _made: int = 1_000

    def deploy(self, ref: TargetRef, *sessions: int, uid: str = "uid-1") -> None:
        """Create (or replace) a Deployment with one pod for each number of sessions."""
        pods = tuple(_pod(index) for index in range(len(sessions)))
        for pod, count in zip(pods, sessions, strict=True):
            self.sessions[ref.namespace, pod.name] = count
        self.targets[ref] = TargetState(ref, uid, "1", len(pods), len(pods), pods)

    def replicas(self, ref: TargetRef) -> int:
        return self.targets[ref].replicas

    def edit_by_hand(self, ref: TargetRef, replicas: int) -> None:
        """Someone else sets the replica count."""
        self._set(self.targets[ref], replicas)

    def observe(
        self, refs: Iterable[TargetRef]
    ) -> Mapping[TargetRef, TargetState | AutoscalerError]:
        return {ref: self._observe(ref) for ref in refs}

    def read_target(self, ref: TargetRef) -> TargetState | AutoscalerError:
        return self.observe({ref})[ref]

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        present = self.targets[state.ref]
        if present.resource_version != state.resource_version:
            raise ConflictError(f"{state.ref} has changed since it was read")
        if not dry_run:
            self.changes.append((state.ref, replicas))
            self._set(present, replicas)

    def mark_pod(self, state: TargetState, pod: PodState, marks: PodMarks) -> None:
        present = self.targets[state.ref]
        pods = tuple(_with_marks(p, marks) if p.uid == pod.uid else p for p in present.pods)
        self.targets[state.ref] = replace(present, pods=pods)

    def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy | Unavailable]:
        counts = {name: count for (_, name), count in self.sessions.items()}
        self.asked += [pod.name for pod in pods]
        return {
            pod.uid: Unreachable(f"http://{pod.ip}:9550/state did not accept a connection")
            if pod.name in self.silent
            else _occupied(counts.get(pod.name, 0))
            for pod in pods
        }

    def announce(
        self, ref: TargetRef, uid: str, reason: str, message: str, *, warning: bool
    ) -> None:
        self.events.append((ref, reason, message))

    def read(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
    ) -> Readings:
        counts = {key: Sample(value, now) for key, value in self.sessions.items()}
        seats = {key: Sample(value, now) for key, value in self.seats.items()}
        samples: dict[tuple[Signal, str], Mapping[tuple[str, str], Sample]] = {
            ("sessions", "exporter"): counts,
            ("seats", "exporter"): seats,
        }
        return Readings(samples, failed=self.failed)

    def _observe(self, ref: TargetRef) -> TargetState | AutoscalerError:
        if ref in self.failures:
            return self.failures[ref]
        missing = TargetNotFoundError(f"{ref}: no such Deployment")
        return self.targets.get(ref, missing)

    def _set(self, state: TargetState, replicas: int) -> None:
        order = deletion_order(state.pods, self.clock.at)
        order = sorted(order, key=lambda pod: pod.name not in self.doomed)
        going = order[: max(0, len(state.pods) - replicas)]
        kept = tuple(pod for pod in state.pods if pod not in going)
        self._made += replicas - len(kept)
        new = tuple(_pod(self._made - index) for index in range(replicas - len(kept)))
        for pod in new:
            self.sessions[state.ref.namespace, pod.name] = 0
        self.targets[state.ref] = replace(
            state,
            replicas=replicas,
            status_replicas=replicas,
            pods=(*kept, *new),
            resource_version=str(int(state.resource_version) + 1),
        )


@dataclass
class FakeLeases:
    """Leases by their places, with versions as an API server keeps them."""

    namespace: str = "autoscaler"
    name: str = "bokeh-autoscaler"
    leases: dict[Place, Lease] = field(default_factory=dict)
    failures: dict[Place, AutoscalerError] = field(default_factory=dict)
    writes: int = 0

    def shard(self, number: int = 0) -> Place:
        return Place(self.namespace, f"{self.name}-{number}")

    def old(self, namespace: str) -> Place:
        """Return where an earlier version has its Lease of a namespace."""
        return Place(namespace, self.name)

    def read(self, place: Place) -> Lease | None:
        self._fail(place)
        return self.leases.get(place)

    def write(self, place: Place, lease: Lease, *, taken: bool) -> Lease:
        self._fail(place)
        if lease.version and place not in self.leases:
            raise TargetNotFoundError(f"cannot patch leases {place}: it is gone")
        if self.leases.get(place, Lease()).version != lease.version:
            raise ConflictError(f"{place} has changed since it was read")
        return self.edit(place, lease)

    def edit(self, place: Place, lease: Lease) -> Lease:
        """Somebody writes it, whoever holds it."""
        self.writes += 1
        self.leases[place] = lease._replace(version=str(self.writes))
        return self.leases[place]

    def _fail(self, place: Place) -> None:
        if place in self.failures:
            raise self.failures[place]


@dataclass
class FakeLeadership:
    """Leads where `statuses` says so, until `lost`; remembers what was written down when."""

    statuses: dict[str, LeadershipStatus] = field(default_factory=dict)
    refusals: list[AutoscalerError] = field(default_factory=list)
    lost: bool = False
    on_commit: Callable[[str], None] = lambda _: None

    def seek(
        self,
        namespaces: Iterable[str],
        set_clock: Callable[[], None],
        busy: Collection[str] = (),
    ) -> Mapping[str, LeadershipStatus]:
        return {each: self.statuses[each] for each in namespaces if each in self.statuses}

    def confirm(self, namespace: str) -> None:
        if self.lost:
            raise LeaseError("nothing more was changed: standby: other holds Lease bokeh/x")

    def commit(self, namespace: str) -> None:
        self.confirm(namespace)
        if self.refusals:
            raise self.refusals.pop(0)
        self.on_commit(namespace)


def _pod(index: int) -> PodState:
    return PodState(
        f"pod-{index}",
        f"uid-{index}",
        ready_since=0.0,
        started_at=0.0,
        created_at=index,
        node="a",
        ip=f"10.0.{index // 250}.{index % 250 + 1}",
    )


def _with_marks(pod: PodState, marks: PodMarks) -> PodState:
    """As `adapters.kubernetes.pods.marks_patch` has it: a cost of somebody else stays."""
    has_foreign_cost = pod.deletion_cost is not None and not pod.cost_is_ours
    return replace(
        pod,
        routable=marks.routable,
        cordon=marks.cordon,
        deletion_cost=pod.deletion_cost if has_foreign_cost and marks.cost is None else marks.cost,
        cost_is_ours=marks.cost is not None,
        protected=marks.protected,
    )


def _occupied(live: int) -> Occupancy:
    return Occupancy(live, empty_for=None if live else 90.0)
