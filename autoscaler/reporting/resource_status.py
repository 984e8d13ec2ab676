"""Tells each ScalingPolicy, in its status, what was decided by it and what is wrong with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from autoscaler.control.pass_result import NOT_LEADER, Outcome, PassResult
from autoscaler.errors import AutoscalerError
from autoscaler.model import Reason
from autoscaler.ports import PolicyResources, ResourceStatus, ResourceVersion
from autoscaler.reporting.outbox import Outbox
from autoscaler.reporting.status_page import policy_status

LOG = logging.getLogger("autoscaler")
# Where only the number of users or a message is another one, so many seconds pass between two
# writes of the same object.
NUMBERS_EVERY = 15.0
AGAIN_EVERY = 60.0
MOST_WAITING = 2_000
WRITTEN_WITHIN = 0.5
# Reasons of decisions that leave the target alone, however it is used.
NOT_SCALED = (Reason.PAUSED.value, Reason.SCALING_DISABLED.value)


class Told(NamedTuple):
    """What was told of which spec, and when (seconds of the steady clock)."""

    version: ResourceVersion
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
        policies = result.policies
        names = {file: name for name, file in policies.files.items()}
        outcomes = {outcome.policy.name: outcome for outcome in result.outcomes}
        ours = {
            file: version
            for file, version in policies.resources.items()
            if (standing := result.leadership.get(version.namespace)) is None or standing.is_leader
        }
        self._told = {file: told for file, told in self._told.items() if file in ours}
        for file, version in ours.items():
            problems, name = policies.problems.get(file, ()), names.get(file)
            if name is None:  # it is not in force, so there is no outcome
                self._tell(file, version, ResourceStatus(problems))
            elif (outcome := outcomes.get(name)) is None:
                self._tell_again(file, version, problems)
            elif outcome.failure != NOT_LEADER:
                self._tell(file, version, _status(outcome, problems))
        self._outbox.settle(WRITTEN_WITHIN)

    def _tell_again(self, file: str, version: ResourceVersion, problems: tuple[str, ...]) -> None:
        """Tell of an edit whose turn to be decided by has not come yet."""
        last = self._told.get(file)
        if last is not None and last.version.uid == version.uid:
            self._tell(file, version, replace(last.status, problems=problems))

    def _tell(self, file: str, version: ResourceVersion, status: ResourceStatus) -> None:
        told, last = Told(version, status, self._steady()), self._told.get(file)
        if last is not None and not _must_tell(told, last):
            return

        def write() -> None:
            try:
                self._resources.write(file, version, status)
                self._failing.discard(file)
            except AutoscalerError as error:
                if file not in self._failing:
                    LOG.warning("%s: could not write the status: %s", file, error)
                self._failing.add(file)

        if self._outbox.put(write):
            self._told[file] = told


def _must_tell(told: Told, last: Told) -> bool:
    """Whether it is news; that only the number of users or the words changed can wait.

    Now and then it is told all the same: a write may have failed, or somebody may have edited it.
    """
    known, passed = last.status, told.at - last.at
    if told.version != last.version or passed >= AGAIN_EVERY:
        return True
    if replace(told.status, users=known.users, message=known.message) != known:
        return True
    return told.status != known and passed >= NUMBERS_EVERY


def _status(outcome: Outcome, problems: tuple[str, ...]) -> ResourceStatus:
    seen = policy_status(outcome)
    replicas = seen.replicas
    return ResourceStatus(
        problems,
        not seen.problem and seen.reason not in NOT_SCALED,
        seen.reason,
        seen.detail,
        None if replicas is None else replicas.current,
        None if replicas is None else replicas.desired,
        seen.sessions,
    )
