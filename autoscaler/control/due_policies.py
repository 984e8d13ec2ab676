"""Whose turn it is: the policies that a pass evaluates, and those that no daemon does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from autoscaler.control.leadership import label
from autoscaler.model import TargetRef
from autoscaler.policy import Policy
from autoscaler.ports import LeadershipStatus, PolicySet

# A pass that comes so much early counts as on time, in seconds.
EARLY = 0.25
# A leader publishes new policies within 5 s and a standby sees them within 2 s.
LACKING_FOR = 15.0

Statuses = Mapping[str, LeadershipStatus]


class Evaluated(NamedTuple):
    """Which version of a policy was evaluated, and when (Unix seconds)."""

    policy: Policy
    at: float


class DuePolicies:
    """Remembers when each policy was evaluated. All times are Unix seconds."""

    def __init__(self) -> None:
        self._evaluated: dict[str, Evaluated] = {}
        self._lacking: dict[str, float] = {}

    def due(self, policies: Sequence[Policy], statuses: Statuses, now: float) -> list[Policy]:
        """Return the policies whose interval has passed, and count them as evaluated.

        One that was edited is due at once. A standby evaluates none.
        """
        return [policy for policy in policies if self._is_due(policy, statuses, now)]

    def unevaluated(
        self, policies: Sequence[Policy], statuses: Statuses, now: float
    ) -> tuple[Policy, ...]:
        """Return the policies of this standby that the leader has lacked for a while.

        During a rollout of the daemon the new one may have a policy that the old one never had.
        """
        self._lacking = {
            policy.name: self._lacking.get(policy.name, now)
            for policy in policies
            if (status := statuses.get(policy.target.namespace)) is not None
            and status.is_standby
            and status.evaluated is not None
            and label(policy) not in status.evaluated
        }
        since = self._lacking
        return tuple(p for p in policies if now - since.get(p.name, now) >= LACKING_FOR)

    def shift(self, seconds: float) -> None:
        """Move all times along with a wall clock that was set."""
        self._evaluated = {
            name: each._replace(at=each.at + seconds) for name, each in self._evaluated.items()
        }
        self._lacking = {name: at + seconds for name, at in self._lacking.items()}

    def forget_all_but(self, names: set[str]) -> None:
        """Drop policies that were removed."""
        self._evaluated = {n: each for n, each in self._evaluated.items() if n in names}

    def _is_due(self, policy: Policy, statuses: Statuses, now: float) -> bool:
        status = statuses.get(policy.target.namespace)
        if status is not None and status.is_standby:
            return False
        last = self._evaluated.get(policy.name)
        if last is not None and last.policy is policy and now - last.at < policy.interval - EARLY:
            return False
        self._evaluated[policy.name] = Evaluated(policy, now)
        return True


def labels_by_namespace(policies: PolicySet, refs: set[TargetRef]) -> dict[str, frozenset[str]]:
    """Return where to lead, with the policies that are evaluated there.

    Also where all ScalingPolicies are rejected: the leader is the one that tells them.
    """
    wanted: dict[str, set[str]] = {ref.namespace: set() for ref in refs}
    wanted |= {each.namespace: set() for each in policies.resources.values()}
    for policy in policies.policies:
        wanted[policy.target.namespace].add(label(policy))
    return {namespace: frozenset(labels) for namespace, labels in wanted.items()}
