"""Hand-written stateful stand-ins for the ports: they remember what was done to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from autoscaler.errors import AutoscalerError, ConflictError, TargetNotFoundError
from autoscaler.model import PodState, Sample, TargetRef
from autoscaler.policy import Policy
from autoscaler.ports import PolicySet, Readings, Signal, TargetState
from tests.builders import NOW


@dataclass
class FakeClock:
    """A wall clock that moves only when told to."""

    at: float = NOW
    step: float = 0.0

    def now(self) -> float:
        return self.at

    def stepped(self) -> float:
        step, self.step = self.step, 0.0
        return step

    def advance(self, seconds: float) -> None:
        self.at += seconds

    def set_by(self, seconds: float) -> None:
        """Step the wall clock, as an administrator or NTP may."""
        self.at += seconds
        self.step += seconds


@dataclass
class FakePolicies:
    """Policies in force, and problems of their files."""

    policies: tuple[Policy, ...]
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def load(self) -> PolicySet:
        files = {policy.name: f"{policy.name}.yaml" for policy in self.policies}
        return PolicySet(self.policies, self.problems, files)


@dataclass
class FakeCluster:
    """Deployments whose pods follow the scale at once. Also the metrics of those pods."""

    targets: dict[TargetRef, TargetState] = field(default_factory=dict)
    failures: dict[TargetRef, AutoscalerError] = field(default_factory=dict)
    refusals: list[AutoscalerError] = field(default_factory=list)
    events: list[tuple[TargetRef, str, str]] = field(default_factory=list)
    changes: list[tuple[TargetRef, int]] = field(default_factory=list)
    sessions: dict[tuple[str, str], int] = field(default_factory=dict)
    failed: dict[tuple[Signal, str], str] = field(default_factory=dict)
    clock: FakeClock = field(default_factory=FakeClock)

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

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        present = self.targets[state.ref]
        if present.resource_version != state.resource_version:
            raise ConflictError(f"{state.ref} was changed meanwhile")
        if not dry_run:
            self.changes.append((state.ref, replicas))
            self._set(present, replicas)

    def announce(self, state: TargetState, reason: str, message: str, *, warning: bool) -> None:
        self.events.append((state.ref, reason, message))

    def read(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
    ) -> Readings:
        counts = {key: Sample(value, now) for key, value in self.sessions.items()}
        return Readings({("sessions", "exporter"): counts}, failed=self.failed)

    def _observe(self, ref: TargetRef) -> TargetState | AutoscalerError:
        if ref in self.failures:
            return self.failures[ref]
        missing = TargetNotFoundError(f"{ref}: no such Deployment")
        return self.targets.get(ref, missing)

    def _set(self, state: TargetState, replicas: int) -> None:
        kept = state.pods[:replicas]
        new = tuple(_pod(index) for index in range(len(kept), replicas))
        for pod in new:
            self.sessions[state.ref.namespace, pod.name] = 0
        self.targets[state.ref] = replace(
            state,
            replicas=replicas,
            status_replicas=replicas,
            pods=(*kept, *new),
            resource_version=str(int(state.resource_version) + 1),
        )


def _pod(index: int) -> PodState:
    return PodState(f"pod-{index}", f"uid-{index}", ready_since=0.0, started_at=0.0)
