"""What the editor asks a simulation, and what that answers; both go from process to process."""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.policy.difference import Setting
from autoscaler.simulation.timeline import Table, Timeline


@dataclass(frozen=True)
class Edit:
    """An edited policy, and the active one to compare with, as texts of files.

    price: of a replica-hour, if it is known.
    """

    text: str
    active: str
    price: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What an edited policy would have done. settings: those that differ. note: the assumptions."""

    settings: tuple[Setting, ...]
    table: Table
    verdict: str
    note: str
    edited: Timeline
    active: Timeline
