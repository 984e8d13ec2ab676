"""A target in memory that does what `decide` says: one story of pods and sessions, pass by pass."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import Any

from autoscaler.core.decide import decide, record_removal, record_scaling
from autoscaler.core.drain.deletion_order import deletion_order
from autoscaler.model import Decision, Observation, Occupancy, PodState, Sample, State, Step
from autoscaler.policy import Policy
from tests.builders import NOW, observation, pod

MEMORY = 100_000  # of a million


class Story:
    """Pods with as many sessions as given, which the policy decides about every `interval` s.

    sessions, memory: by name, for whoever writes the story. idle_since: of all sessions. most: pods
    that a ResourceQuota allows. steps: every step that was told, and decisions every decision.
    """

    def __init__(self, rules: Policy, *sessions: int, interval: float = 5.0, **more: Any) -> None:
        self.rules, self.interval, self.now = rules, interval, NOW
        self.state: State | None = State(seen_at=NOW)
        self.sessions: dict[str, int] = {}
        self.memory: dict[str, int] = {}
        self.idle_since = NOW
        self.most = 100
        self.cut = 0
        self.removed: list[str] = []
        self.events: list[str] = []
        self.steps: list[Step] = []
        self.decisions: list[Decision] = []
        self.pods: list[PodState] = []
        for count in sessions:
            self.create(count, **more)
        self.replicas = len(self.pods)

    def create(self, sessions: int = 0, **more: Any) -> None:
        name = f"pod-{len(self.sessions)}"
        self.sessions[name] = sessions
        born = {"created_at": self.now, "ready_since": self.now} if self.now > NOW else {}
        self.pods.append(pod(name, node="a", **{**born, **more}))

    def edit(self, name: str, **values: Any) -> None:
        """Somebody changes a pod, or it changes by itself."""
        self.pods = [replace(p, **values) if p.name == name else p for p in self.pods]

    def run(self, seconds: float, **seen: Any) -> None:
        for _ in range(max(1, round(seconds / self.interval))):
            self.now += self.interval
            observed = observation(
                pods=tuple(map(self._seen, self.pods)),
                replicas=self.replicas,
                status_replicas=len(self.pods),
                **seen,
            )
            decision, self.state = decide(self.rules, observed, self.state, self.now)
            self._carry_out(decision, observed)

    def _seen(self, each: PodState) -> PodState:
        count, at = self.sessions[each.name], self.now
        said = Occupancy(count, empty_for=None if count else 600.0, idle_for=at - self.idle_since)
        return replace(
            each,
            sessions=Sample(count, at),
            memory=Sample(self.memory.get(each.name, MEMORY), at, 60.0),
            occupancy=None if each.routable else said,
        )

    def _carry_out(self, decision: Decision, observed: Observation) -> None:
        self.decisions.append(decision)
        self.steps += decision.steps
        plan = decision.drain
        if plan is not None and plan.idle:
            self.events.append(plan.idle)
        for each, note in plan.marks if plan is not None else ():
            self.edit(
                each.name,
                routable=note.routable,
                cordon=note.cordon,
                deletion_cost=note.cost,
                cost_is_ours=note.cost is not None,
                protected=note.protected,
            )
        if decision.desired != decision.current:
            assert self.state is not None
            args = decision.current, decision.desired, self.now
            self.state = record_scaling(self.state, self.rules, *args)
            self.state = record_removal(self.state, decision, observed, self.now)
            self.replicas = decision.desired
        self.follow_scale()

    def follow_scale(self) -> None:
        """What a ReplicaSet does."""
        surplus = len(self.pods) - self.replicas
        for each in deletion_order(self.pods, self.now)[: max(0, surplus)]:
            self.removed.append(each.name)
            self.cut += self.sessions[each.name]
            self.pods.remove(each)
        while len(self.pods) < min(self.replicas, self.most):
            self.create()

    @property
    def cordoned(self) -> list[str]:
        return [each.name for each in self.pods if not each.routable]

    def told(self, reason: str) -> list[str]:
        """The different texts of a reason, each once while it lasts."""
        lines = (step.detail for step in self.steps if step.reason == reason)
        return [line for line, _ in groupby(lines)]
