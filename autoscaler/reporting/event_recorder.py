"""Creates the Events of a pass, each only when there is something new."""

from __future__ import annotations

import logging
from typing import NamedTuple

from autoscaler.control.pass_result import FAILED_GET_SCALE, Outcome, PassResult
from autoscaler.core.holds import pause_of
from autoscaler.errors import AutoscalerError
from autoscaler.model import TargetRef
from autoscaler.policy import Policy
from autoscaler.ports import Cluster
from autoscaler.reporting.events import PAUSED, Message, mark_messages, messages, resumed
from autoscaler.reporting.outbox import Outbox
from exporter.texts import LONGEST_EVENT, visible

LOG = logging.getLogger("autoscaler")
# An Event that lasts is left again after so long; one that ended for less is the same one, seconds.
AGAIN_AFTER = 3_600.0
SAME_WITHIN = 60.0
# Events are left beside the passes; a pass waits so long for them, in seconds.
EVENTS_WITHIN = 0.5
MOST_WAITING = 500


class Told(NamedTuple):
    """When a message was told, and when it was last true (Unix seconds)."""

    told: float
    seen: float


class EventRecorder:
    """A `Recorder` that leaves an Event for every change, new hold and new problem."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._told: dict[tuple[str, str], Told] = {}
        self._outbox = Outbox("Events", "the API server", MOST_WAITING)

    def record(self, result: PassResult) -> None:
        """Leave Events; one that cannot be left is logged and forgotten."""
        for outcome in result.outcomes:
            if outcome.target is None and outcome.failure != FAILED_GET_SCALE:
                continue
            ref, uid = outcome.policy.target.ref, outcome.target.uid if outcome.target else ""
            for message in messages(outcome, result.policies):
                if self._is_news(outcome.policy, message, result.at):
                    self._announce(ref, uid, message)
            if self._has_resumed(outcome):
                self._announce(ref, uid, resumed(outcome.policy))
        for target, pod, marks in result.released:
            for message in mark_messages(pod, marks):
                self._announce(target.ref, target.uid, message)
        names = {policy.name for policy in result.policies.policies}
        self._told = {
            key: told
            for key, told in self._told.items()
            if key[0] in names and result.at - told.seen < AGAIN_AFTER
        }
        self._outbox.settle(EVENTS_WITHIN)

    def _has_resumed(self, outcome: Outcome) -> bool:
        """Whether a pause that was told has ended; then it is forgotten."""
        policy, observed = outcome.policy, outcome.observed
        if observed is None or pause_of(policy, observed) is not None:
            return False
        return self._told.pop((policy.name, PAUSED), None) is not None

    def _is_news(self, policy: Policy, message: Message, at: float) -> bool:
        """Whether it begins now, or has lasted for an hour since it was told."""
        if not message.key:
            return True
        key = policy.name, message.key
        last = self._told.get(key)
        same = max(SAME_WITHIN, 3 * policy.interval)
        lasts = last is not None and abs(at - last.seen) < same
        if last is None or not lasts or (message.again and at - last.told >= AGAIN_AFTER):
            self._told[key] = Told(at, at)
            return True
        self._told[key] = last._replace(seen=at)
        return False

    def _announce(self, ref: TargetRef, uid: str, message: Message) -> None:
        def announce() -> None:
            try:
                reason, text = message.reason, visible(message.text, LONGEST_EVENT)
                self._cluster.announce(ref, uid, reason, text, warning=message.warning)
            except AutoscalerError as error:
                LOG.warning("%s: could not create Event: %s", ref, error)

        self._outbox.put(announce)
