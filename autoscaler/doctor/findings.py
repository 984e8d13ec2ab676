"""What a check finds: where it is, what users feel, and what fixes it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple


class Severity(StrEnum):
    """How much a finding hurts, in order. ERROR: users lose work, or nothing is scaled."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Finding(NamedTuple):
    """One problem. where: object and field. feel: what users or operators feel, in one sentence.

    fix: commands or YAML, which may have several lines.
    """

    id: str
    severity: Severity
    where: str
    feel: str
    fix: str

    @property
    def document(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {**self._asdict(), "severity": self.severity.value}


def error(id: str, where: str, feel: str, fix: str) -> Finding:  # noqa: A002
    """Return a finding that costs users their work, or keeps everything from being scaled."""
    return Finding(id, Severity.ERROR, where, feel, fix)


def warning(id: str, where: str, feel: str, fix: str) -> Finding:  # noqa: A002
    """Return a finding that will hurt under load, in a rollout or on a node drain."""
    return Finding(id, Severity.WARNING, where, feel, fix)


def note(id: str, where: str, feel: str, fix: str) -> Finding:  # noqa: A002
    """Return a finding that hurts only in some set-ups."""
    return Finding(id, Severity.NOTE, where, feel, fix)
