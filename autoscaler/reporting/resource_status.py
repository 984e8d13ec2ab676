"""Tells each ScalingPolicy, in its status, what was decided by it and what is wrong with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from autoscaler.control.pass_result import NOT_LEADER, Outcome, PassResult
from autoscaler.errors import AutoscalerError
from autoscaler.ports import PolicyResources, ResourceStatus
from autoscaler.reporting.outbox import Outbox
from autoscaler.reporting.status_page import policy_status

LOG = logging.getLogger("autoscaler")
# Where only the number of users or a message is another one, so many seconds pass between two
# writes of the same object.
NUMBERS_EVERY = 15.0
AGAIN_EVERY = 60.0
MOST_WAITING = 2_000
WRITTEN_WITHIN = 0.5


class Told(NamedTuple):
    """What was told, and when (seconds of the steady clock)."""

    status: ResourceStatus
    at: float


class ResourceStatuses:
    """A `Recorder` for the policies that are Kubernetes objects.

    steady: a clock that is never set. Only what this daemon leads is written.
    """

    def __init__(self, resources: PolicyResources, steady: Callable[[], float]) -> None:
        self._resources = resources
        self._steady = steady
        self._told: dict[str, Told] = {}
        self._failing: set[str] = set()  # only the outbox has it
        self._outbox = Outbox("statuses", "the API server", MOST_WAITING)

    def record(self, result: PassResult) -> None:
        """Write what has changed; what cannot be written is logged once, and tried again."""
        ours, rejected = self._resources.load(), result.policies.problems
        outcomes = {outcome.policy.name: outcome for outcome in result.outcomes}
        in_force = {policy.name for policy in result.policies.policies}
        for policy in ours.policies:
            file, outcome = ours.files[policy.name], outcomes.get(policy.name)
            problems = rejected.get(file, ())
            if policy.name not in in_force:
                self._tell_alone(result, file, problems)
            elif outcome is not None and outcome.failure != NOT_LEADER:
                self._tell(file, _status(outcome, problems))
        for file in ours.problems.keys() - set(ours.files.values()):
            self._tell_alone(result, file, ours.problems[file])
        known = {*ours.files.values(), *ours.problems}
        self._told = {file: told for file, told in self._told.items() if file in known}
        self._outbox.settle(WRITTEN_WITHIN)

    def _tell_alone(self, result: PassResult, file: str, problems: tuple[str, ...]) -> None:
        """Tell why a spec is not in force, and so no leader has an outcome of it."""
        standings = result.leadership.values()
        if not standings or any(each.is_leader for each in standings):
            self._tell(file, ResourceStatus(problems))

    def _tell(self, file: str, status: ResourceStatus) -> None:
        last, now = self._told.get(file), self._steady()
        if last is not None and not _must_tell(status, last, now):
            return

        def write() -> None:
            try:
                self._resources.write(file, status)
                self._failing.discard(file)
            except AutoscalerError as error:
                if file not in self._failing:
                    LOG.warning("%s: could not write the status: %s", file, error)
                self._failing.add(file)

        if self._outbox.put(write):
            self._told[file] = Told(status, now)


def _must_tell(status: ResourceStatus, last: Told, now: float) -> bool:
    """Whether it is news; that only the number of users or the words changed can wait.

    Now and then it is told all the same: a write may have failed, or somebody may have edited it.
    """
    if now - last.at >= AGAIN_EVERY:
        return True
    if replace(status, users=last.status.users, message=last.status.message) != last.status:
        return True
    return status != last.status and now - last.at >= NUMBERS_EVERY


def _status(outcome: Outcome, problems: tuple[str, ...]) -> ResourceStatus:
    seen = policy_status(outcome)
    replicas = seen.replicas
    return ResourceStatus(
        problems,
        not seen.problem,
        seen.reason,
        seen.detail,
        None if replicas is None else replicas.current,
        None if replicas is None else replicas.desired,
        seen.sessions,
    )
