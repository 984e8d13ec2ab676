"""Tells people what a pass did: log lines and Events, each only when there is something new."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from autoscaler.controller import Outcome, PassResult
from autoscaler.errors import AutoscalerError
from autoscaler.model import Confirmation, Reason
from autoscaler.policy import Policy
from autoscaler.ports import Cluster, PolicySet

LOG = logging.getLogger("autoscaler")
# Doubts that keep the replicas as they are. A rollout ends by itself; the others may not.
HOLDS = {
    Reason.PARTIAL_DATA,
    Reason.FAILED_GET_RESOURCE_METRIC,
    Reason.FAILED_GET_SESSIONS_METRIC,
    Reason.FAILED_GET_EXTERNAL_METRIC,
    Reason.ROLLOUT_IN_PROGRESS,
    Reason.DELETION_ORDER_UNCERTAIN,
    Reason.FOREIGN_DELETION_COST,
    Reason.VICTIM_MISMATCH,
    Reason.OTHER_AUTOSCALER,
    Reason.NOT_CORDONABLE,
}


class Journal:
    """A `controller.Recorder` that logs changes, holds and problems when they begin or end."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self._said: dict[str, str] = {}
        self._dry_run = dry_run

    def record(self, result: PassResult) -> None:
        """Log what differs from the last pass."""
        for namespace, standing in result.standings.items():
            told = standing.leads or standing.stands_by  # else its policies tell of the problem
            if told and self._is_news(f"lease {namespace}", standing.detail):
                LOG.info("%s", standing.detail, extra={"fields": {"namespace": namespace}})
        for outcome in result.outcomes:
            self._record_outcome(outcome)
        for file, problems in result.policies.problems.items():
            text = "\n".join(problems)
            if self._is_news(f"file {file}", text):
                for problem in problems:
                    LOG.error("%s", problem, extra={"fields": {"file": file}})
        for gone in [key for key in self._said if key.startswith("file ")]:
            file = gone.removeprefix("file ")
            if file not in result.policies.problems:
                del self._said[gone]
                LOG.info("%s: in force", file, extra={"fields": {"file": file}})

    def _record_outcome(self, outcome: Outcome) -> None:
        name = outcome.policy.name
        if outcome.problem:
            if self._is_news(name, outcome.problem):
                fields = {"policy": name}
                LOG.warning("%s: %s", name, outcome.problem, extra={"fields": fields})
            return
        decision = outcome.decision
        if decision is None:
            return
        text = self._words(outcome)
        if self._is_news(name, f"{decision.current} {decision.desired} {decision.reason}"):
            LOG.info("%s: %s", name, text, extra={"fields": _fields(outcome)})

    def _words(self, outcome: Outcome) -> str:
        decision = outcome.decision
        if decision is None:
            return ""
        move = f"{decision.current} replicas"
        if decision.direction != "none":
            verb = "would become" if self._dry_run else "->"
            move = f"{decision.current} {verb} {decision.desired} replicas"
        return f"{move}, {decision.reason}: {decision.detail}"

    def _is_news(self, key: str, text: str) -> bool:
        if self._said.get(key) == text:
            return False
        self._said[key] = text
        return True


class EventRecorder:
    """A `controller.Recorder` that leaves an Event for every change, new hold and new problem."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._problems: dict[str, str | None] = {}

    def record(self, result: PassResult) -> None:
        """Leave Events; one that cannot be left is logged and forgotten."""
        for outcome in result.outcomes:
            self._record_outcome(outcome, result.policies)

    def _record_outcome(self, outcome: Outcome, policies: PolicySet) -> None:
        name = outcome.policy.name
        if outcome.changed and outcome.decision is not None:
            decision = outcome.decision
            words = f"{decision.current} -> {decision.desired} replicas: {decision.detail}"
            self._announce(outcome, decision.reason.value, f"{name}: {words}", warning=False)
        if outcome.decision is not None and outcome.decision.confirmed is not None:
            self._announce_cut(outcome, outcome.decision.confirmed)
        reason, problem = _trouble(outcome, policies)
        news = reason if reason in HOLDS else problem  # a hold's numbers change with every pass
        if problem is None:
            self._problems.pop(name, None)
        elif self._problems.get(name) != news:
            self._problems[name] = news
            warning = reason != Reason.ROLLOUT_IN_PROGRESS
            self._announce(outcome, reason, f"{name}: {problem}", warning=warning)

    def _announce_cut(self, outcome: Outcome, confirmed: Confirmation) -> None:
        name = outcome.policy.name
        if confirmed.mismatch:
            words = f"a pod went that was not chosen, with {confirmed.cut} sessions; shrinks rest"
            self._announce(outcome, Reason.VICTIM_MISMATCH, f"{name}: {words}", warning=True)
        elif confirmed.cut:
            words = f"{confirmed.cut} sessions ended with their pods, past their deadline"
            self._announce(
                outcome, Reason.DRAIN_DEADLINE_EXCEEDED, f"{name}: {words}", warning=True
            )

    def _announce(self, outcome: Outcome, reason: str, message: str, *, warning: bool) -> None:
        if outcome.target is None:
            return
        try:
            self._cluster.announce(outcome.target, reason, message, warning=warning)
        except AutoscalerError as error:
            LOG.warning("%s: no Event: %s", outcome.policy.name, error)


def _trouble(outcome: Outcome, policies: PolicySet) -> tuple[str, str | None]:
    """What somebody should look at, as the reason and the words of a warning; None: nothing."""
    if outcome.problem:
        return "FailedRescale", outcome.problem
    decision = outcome.decision
    if decision is not None and decision.reason in HOLDS:
        return decision.reason.value, decision.detail
    return "PolicyFileRefused", broken_edit(outcome.policy, policies)


def broken_edit(policy: Policy, policies: PolicySet) -> str | None:
    """What is wrong with the newest version of a policy's file; None while it is in force."""
    file = policies.files.get(policy.name)
    problems = policies.problems.get(file or "", ())
    return f"the last good version keeps running: {problems[0]}" if problems else None


def _fields(outcome: Outcome) -> dict[str, Any]:
    decision = outcome.decision
    if decision is None:
        return {"policy": outcome.policy.name}
    return {
        "policy": outcome.policy.name,
        "target": str(outcome.policy.target.ref),
        "current": decision.current,
        "desired": decision.desired,
        "reason": decision.reason.value,
        "changed": outcome.changed,
        "steps": [[step.reason.value, step.replicas, step.detail] for step in decision.steps],
    }


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with its fields."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {"at": at, "level": record.levelname.lower(), "message": record.getMessage()}
        return json.dumps({**entry, **getattr(record, "fields", {})})


def set_up_logging(form: str) -> None:
    """Log to standard error as `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
