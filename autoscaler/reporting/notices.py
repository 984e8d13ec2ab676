"""Gives the notices that policies ask for to the sidecars, beside the passes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from autoscaler.control.pass_result import Outcome, PassResult
from autoscaler.core.notices import ROUND, Due, due
from autoscaler.model import PodState, Unavailable
from autoscaler.reporting.outbox import Outbox

LOG = logging.getLogger("autoscaler")
MOST_WAITING = 100


class GivesNotices(Protocol):
    """Who shows notices to the users of pods; see `adapters.sidecars`."""

    def notify(
        self, pods: Sequence[PodState], notice: Mapping[str, object]
    ) -> Mapping[str, int | Unavailable]:
        """Show a notice. Return by UID to how many sessions, or why it is not shown."""


@dataclass(slots=True)
class _Given:
    """What was given for one policy.

    last: when the last round began. told: the pods that have shown an announcement, by UID and the
    time at which that comes which it announces. problems: why pods do not show it, by the text.
    """

    last: float | None = None
    told: set[tuple[str, float]] = field(default_factory=set)
    problems: dict[object, str] = field(default_factory=dict)


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
            if given.last is None or not 0 <= result.at - given.last < ROUND:
                given.last = result.at
                self._round(outcome, given, result.at)
        if result.policies.is_complete:  # else some will be known soon
            names = {policy.name for policy in result.policies.policies}
            self._given = {name: each for name, each in self._given.items() if name in names}

    def _round(self, outcome: Outcome, given: _Given, at: float) -> None:
        policy, target = outcome.policy, outcome.target
        if target is None or policy.paused or target.pause is not None:
            return
        there = {pod.uid for pod in target.pods}
        given.told = {each for each in given.told if each[0] in there}
        for each in due(policy, target.pods, at):
            pods = [pod for pod in each.pods if (pod.uid, each.ends) not in given.told]
            if pods:
                self._outbox.put(partial(self._give, policy.name, given, pods, each))

    def _give(self, policy: str, given: _Given, pods: Sequence[PodState], due: Due) -> None:
        """Give a notice, and log why pods do not show it when that changes."""
        said = self._sidecars.notify(pods, due.notice)
        if due.ends is not None:
            reached = (uid for uid, each in said.items() if not isinstance(each, Unavailable))
            given.told = given.told | {(uid, due.ends) for uid in reached}
        silent = [each.message for each in said.values() if isinstance(each, Unavailable)]
        problem = silent[0] if silent else ""
        text = due.notice["text"]
        if problem and problem != given.problems.get(text):
            words = "policy %s: %d of %d pods do not show a notice to their users: %s"
            LOG.warning(words, policy, len(silent), len(said), problem)
        given.problems[text] = problem
