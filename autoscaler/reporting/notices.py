"""Gives the notices that policies ask for to the sidecars, beside the passes."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from autoscaler.control.pass_result import Outcome, PassResult
from autoscaler.core.notices import ROUND, Due, due
from autoscaler.model import PodState, Unavailable
from autoscaler.reporting.outbox import Outbox

LOG = logging.getLogger("autoscaler")
MOST_WAITING = 10_000  # rounds, of which each policy has at most one


class GivesNotices(Protocol):
    """Who shows notices to the users of pods; see `adapters.sidecars`."""

    def notify(
        self, pods: Sequence[PodState], notice: Mapping[str, object]
    ) -> Mapping[str, int | Unavailable]:
        """Show a notice. Return by UID to how many sessions, or why it is not shown."""


@dataclass(slots=True)
class _Given:
    """What was given for one policy.

    last: when the last round began. is_busy: whether it waits or is under way. told: the pods that
    have shown an announcement, by UID and the time at which that comes which it announces.
    problems: why pods do not show a notice, by its text.
    """

    last: float | None = None
    is_busy: bool = False
    told: set[tuple[str, float]] = field(default_factory=set)
    problems: dict[object, str] = field(default_factory=dict)

    def is_due(self, at: float) -> bool:
        """Return whether a round begins at a time; a slow one delays the next."""
        recent = self.last is not None and 0 <= at - self.last < ROUND
        return not recent and not self.is_busy


class NoticeRecorder:
    """Implements `Recorder`: of each policy that this daemon evaluates, one round in 30 s."""

    def __init__(self, sidecars: GivesNotices, outbox: Outbox | None = None) -> None:
        self._sidecars = sidecars
        self._outbox = outbox or Outbox("notices", "a sidecar", MOST_WAITING)
        self._given: dict[str, _Given] = {}

    def record(self, result: PassResult) -> None:
        """Begin the rounds that are due, and forget policies that are gone."""
        for outcome in result.outcomes:
            given = self._given.setdefault(outcome.policy.name, _Given())
            if given.is_due(result.at):
                self._begin(outcome, given, result.at)
        if result.policies.is_complete:  # else some will be known soon
            names = {policy.name for policy in result.policies.policies}
            self._given = {name: each for name, each in self._given.items() if name in names}

    def _begin(self, outcome: Outcome, given: _Given, at: float) -> None:
        policy, target = outcome.policy, outcome.target
        given.last = at
        if target is None or policy.paused or target.pause is not None:
            return
        there = {pod.uid for pod in target.pods}
        given.told = {each for each in given.told if each[0] in there}
        notices = [*due(policy, target.pods, at)]
        if notices:
            work = partial(self._round, policy.name, given, notices, time.monotonic())
            given.is_busy = self._outbox.put(work)

    def _round(self, policy: str, given: _Given, notices: Sequence[Due], since: float) -> None:
        """Give the notices of a round that was due since a time of the monotonic clock."""
        try:
            for each in notices:
                pods = [pod for pod in each.pods if (pod.uid, each.ends) not in given.told]
                if pods:
                    self._give(policy, given, pods, _later(each, time.monotonic() - since))
        finally:
            given.is_busy = False

    def _give(self, policy: str, given: _Given, pods: Sequence[PodState], due: Due) -> None:
        """Give a notice, and log why pods do not show it when that changes."""
        said = self._sidecars.notify(pods, due.notice)
        if due.ends is not None:
            reached = (uid for uid, each in said.items() if not isinstance(each, Unavailable))
            given.told |= {(uid, due.ends) for uid in reached}
        silent = [each.message for each in said.values() if isinstance(each, Unavailable)]
        problem, text = silent[0] if silent else "", due.notice["text"]
        if problem and problem != given.problems.get(text):
            words = "policy %s: %d of %d pods do not show a notice to their users: %s"
            LOG.warning(words, policy, len(silent), len(said), problem)
        given.problems[text] = problem


def _later(due: Due, seconds: float) -> Due:
    """Return a notice that is given so much later: less time is left until what it announces."""
    left = due.notice["seconds"]
    if due.ends is None or not isinstance(left, float):
        return due
    return due._replace(notice={**due.notice, "seconds": max(0.0, left - seconds)})
