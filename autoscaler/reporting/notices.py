"""Gives the notices that policies ask for to the sidecars, beside the passes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

from autoscaler.control.pass_result import Outcome, PassResult
from autoscaler.core.notices import ROUND, due
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


class NoticeRecorder:
    """Implements `Recorder`: of each policy that this daemon evaluates, one round in 30 s."""

    def __init__(self, sidecars: GivesNotices, outbox: Outbox | None = None) -> None:
        self._sidecars = sidecars
        self._outbox = outbox or Outbox("notices", "a sidecar", MOST_WAITING)
        self._last: dict[str, float] = {}
        self._given: dict[str, set[str]] = {}
        self._problems: dict[str, str] = {}

    def record(self, result: PassResult) -> None:
        """Begin the rounds that are due."""
        for outcome in result.outcomes:
            last = self._last.get(outcome.policy.name)
            if last is None or not 0 <= result.at - last < ROUND:
                self._last[outcome.policy.name] = result.at
                self._round(outcome, result.at)

    def _round(self, outcome: Outcome, at: float) -> None:
        policy, target = outcome.policy, outcome.target
        if target is None or policy.paused or target.pause is not None:
            return
        there = {pod.uid for pod in target.pods}
        given = self._given[policy.name] = self._given.get(policy.name, set()) & there
        for each in due(policy, target.pods, at):
            pods = [pod for pod in each.pods if not each.once or pod.uid not in given]
            if pods:
                self._outbox.put(partial(self._give, policy.name, pods, each.notice, each.once))

    def _give(
        self, policy: str, pods: Sequence[PodState], notice: Mapping[str, object], once: bool
    ) -> None:
        """Give a notice, and log why pods do not show it when that changes."""
        said = self._sidecars.notify(pods, notice)
        reached = {uid for uid, each in said.items() if not isinstance(each, Unavailable)}
        if once:
            self._given.setdefault(policy, set()).update(reached)
        silent = [each.message for each in said.values() if isinstance(each, Unavailable)]
        problem = silent[0] if silent else ""
        if problem and problem != self._problems.get(policy):
            words = "policy %s: %d of %d pods do not show a notice to their users: %s"
            LOG.warning(words, policy, len(silent), len(said), problem)
        self._problems[policy] = problem
