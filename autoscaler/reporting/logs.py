"""What the daemon logs: each pass in lines of JSON or text, only what is new."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from autoscaler.control.pass_result import Outcome, PassResult
from autoscaler.ports import PolicySet
from autoscaler.reporting.events import (
    mark_messages,
    nobody_evaluates,
    passing,
    pod_messages,
    released,
    seats_changed,
    unreachable,
)
from autoscaler.reporting.policy_changes import policy_changes
from exporter.texts import visible

LOG = logging.getLogger("autoscaler")
# A list of a log entry and a traceback are cut off after so many items.
MOST_ITEMS, MOST_LEVELS = 100, 5


class LogRecorder:
    """A `Recorder` that logs changes, holds and problems when they begin or end."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self._said: dict[str, str] = {}
        self._policies = PolicySet()
        self._dry_run = dry_run

    def record(self, result: PassResult) -> None:
        """Log what differs from the last pass, and forget policies that are gone."""
        self._record_leadership(result)
        words = nobody_evaluates(result.unevaluated)
        if words and self._is_news("unevaluated", words):
            names = [policy.name for policy in result.unevaluated]
            LOG.warning("%s", words, extra={"fields": {"policies": names}})
        self._record_changes(result.policies)
        for outcome in result.outcomes:
            self._record_outcome(outcome)
        for target, pod, marks in result.released:
            for message in mark_messages(pod, marks):
                words = f"{target.ref}: {message.text}"
                LOG.info("%s", words, extra={"fields": {"target": str(target.ref)}})
        self._record_files(result.policies)
        known = {policy.name for policy in result.policies.policies}
        known |= {f"reach {policy.name}" for policy in result.policies.policies}
        known |= {f"lease {status.detail}" for status in result.leadership.values()}
        known |= {"unevaluated"} if result.unevaluated else set()
        known |= {f"file {file}" for file in result.policies.rejected}
        known |= {f"directory {name}" for name in result.policies.empty}
        self._said = {key: text for key, text in self._said.items() if key in known}

    def _record_leadership(self, result: PassResult) -> None:
        """Log each status once, for all namespaces of a shard have the same."""
        for detail in {
            status.detail
            for status in result.leadership.values()
            if status.is_leader or status.is_standby  # else its policies tell of the problem
        }:
            if self._is_news(f"lease {detail}", detail):
                LOG.info("%s", detail)

    def _record_files(self, policies: PolicySet) -> None:
        self._record_empty(policies)
        for file, problems in policies.rejected.items():
            if self._is_news(f"file {file}", "\n".join(problems)):
                for problem in problems:
                    LOG.error("%s", problem, extra={"fields": {"file": file}})
        for key in [key for key in self._said if key.startswith("file ")]:
            file = key.removeprefix("file ")
            if file not in policies.problems:
                there = file in policies.files.values()
                words = "valid again and loaded" if there else "the problem is gone"
                LOG.info("%s: %s", file, words, extra={"fields": {"file": file}})

    def _record_changes(self, policies: PolicySet) -> None:
        """Log each policy that was loaded, changed or removed."""
        for each in policy_changes(self._policies, policies):
            fields = {"policy": each.policy, "file": each.file}
            LOG.info("%s: %s", each.file, each.text, extra={"fields": fields})
        self._policies = policies

    def _record_empty(self, policies: PolicySet) -> None:
        """Log a directory without policy files, which is right before the first one is there."""
        for name in sorted(policies.empty):
            [words] = policies.problems[name]
            if self._is_news(f"directory {name}", words):
                LOG.warning("%s", words, extra={"fields": {"file": name}})
        for key in [key for key in self._said if key.startswith("directory ")]:
            name = key.removeprefix("directory ")
            if name not in policies.problems:
                LOG.info(
                    "policy directory %s has files now", name, extra={"fields": {"file": name}}
                )

    def _record_outcome(self, outcome: Outcome) -> None:
        name, decision = outcome.policy.name, outcome.decision
        for pod, message in pod_messages(outcome):
            fields = {"policy": name, "pod": pod.name, "reason": message.reason}
            LOG.info("%s: %s", name, message.text, extra={"fields": fields})
        for message in released(outcome):
            LOG.info("%s: %s", name, message.text, extra={"fields": {"policy": name}})
        for message in passing(outcome):
            LOG.warning("%s: %s", name, message.text, extra={"fields": {"policy": name}})
        if outcome.seats is not None and outcome.seats.before is not None:
            words = seats_changed(outcome.seats).text
            LOG.info("%s: %s", name, words, extra={"fields": {"policy": name}})
        self._record_reach(name, outcome)
        if decision is not None and (outcome.changed or not outcome.problem):
            text = f"{decision.current} {decision.desired} {decision.reason} {decision.scheduled}"
            if self._is_news(name, text) or outcome.changed:
                LOG.info("%s: %s", name, self._words(outcome), extra={"fields": _fields(outcome)})
        if outcome.problem and self._is_news(name, outcome.problem):
            LOG.warning("%s: %s", name, outcome.problem, extra={"fields": {"policy": name}})

    def _record_reach(self, name: str, outcome: Outcome) -> None:
        """Log when sidecars can no longer be reached, or can again."""
        key, fields = f"reach {name}", {"policy": name}
        if outcome.unreachable:
            message = unreachable(outcome.unreachable)
            if self._is_news(key, str(sorted(each.pod for each in outcome.unreachable))):
                LOG.warning("%s: %s", name, message.text, extra={"fields": fields})
        elif outcome.decision is not None and self._said.pop(key, ""):
            LOG.info("%s: all sidecars can be reached again", name, extra={"fields": fields})

    def _words(self, outcome: Outcome) -> str:
        decision = outcome.decision
        if decision is None:
            return ""
        move = f"{decision.current} replicas"
        if decision.direction != "none":
            verb = "would become" if self._dry_run else "->"
            move = f"{decision.current} {verb} {decision.desired} replicas"
        words = f"{move}, {decision.reason}: {decision.detail}"
        return f"{words}; {decision.scheduled}" if decision.scheduled else words

    def _is_news(self, key: str, text: str) -> bool:
        if self._said.get(key) == text:
            return False
        self._said[key] = text
        return True


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
        told = {**entry, **getattr(record, "fields", {})}
        if lines := _traceback(record):
            told["traceback"] = lines
        return json.dumps(_visible_in(told))


class TextFormatter(logging.Formatter):
    """One line for each record; the lines of its traceback are indented below."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a person reads it."""
        at, message = self.formatTime(record), visible(record.getMessage())
        below = (f"    {visible(line)}" for line in _traceback(record))
        return "\n".join((f"{at} {record.levelname:<7} {message}", *below))


def _traceback(record: logging.LogRecord) -> list[str]:
    """The last lines of the exception's traceback, whose message may have any number of them."""
    if not record.exc_info or record.exc_info[1] is None:
        return []
    return "".join(traceback.format_exception(record.exc_info[1])).splitlines()[-MOST_ITEMS:]


def _visible_in(value: Any, level: int = 0) -> Any:
    """A value for JSON with every text in it visible."""
    if level > MOST_LEVELS:
        return "…"
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(key): _visible_in(each, level + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_visible_in(each, level + 1) for each in value[:MOST_ITEMS]]
    return value


def set_up_logging(form: str) -> None:
    """Log to standard error as `text` or `json`, also what libraries warn of."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.getLogger().handlers[:] = LOG.handlers[:] = [handler]
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
