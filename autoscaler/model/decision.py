"""What is decided, and every step by which it came about."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from autoscaler.model.observed import PodMarks, PodState
from autoscaler.model.reasons import Reason
from autoscaler.model.state import Departing


class Recommendation(NamedTuple):
    """One metric's number before behavior, or why it has none.

    replicas is None exactly where `problem` says what is missing.
    """

    metric: str
    replicas: int | None
    detail: str
    reason: Reason = Reason.VALID_METRIC_FOUND
    complete: bool = True

    @property
    def problem(self) -> str | None:
        """Why this metric gave no number; None where it did."""
        return self.detail if self.replicas is None else None


class Step(NamedTuple):
    """One step of the pipeline that moved the number or held it: the audit trail of a decision."""

    reason: Reason
    replicas: int
    detail: str


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class DrainPlan(NamedTuple):
    """What one pass does to the pods, and the replica count that goes with it.

    idle: what to tell of pods that have waited long for their last sessions; "": nothing now.
    named: by uid when each of those was named last.
    marks: pods and what they shall carry from now on. remove: the pods that the lower count
    removes; empty where it is not lowered.
    """

    replicas: int
    marks: tuple[tuple[PodState, PodMarks], ...] = ()
    remove: tuple[PodState, ...] = ()
    steps: tuple[Step, ...] = ()
    idle: str = ""
    named: Mapping[str, float] = _NOTHING


class Confirmation(NamedTuple):
    """How a scale-down ended. cut: sessions it ended. mismatch: another pod was deleted."""

    removed: int
    cut: int = 0
    mismatch: bool = False


class Decision(NamedTuple):
    """The final number and how it came about.

    steps tell every move in order; the last one is the reason to show where there is room for one.
    drain: what happens to the pods; None where pods are not drained. confirmed: how the last
    scale-down ended, in the pass that saw its end. ended: removed pods that are gone since the last
    pass, with the sessions that ended with them. reset: what somebody else has just written over.
    holds_until: if nothing changes but ages, every pass before this time (Unix seconds) decides on
    the same number and the same marks.
    """

    current: int
    desired: int
    steps: tuple[Step, ...] = ()
    recommendations: tuple[Recommendation, ...] = ()
    drain: DrainPlan | None = None
    confirmed: Confirmation | None = None
    ended: tuple[Departing, ...] = ()
    reset: str = ""
    holds_until: float = 0.0

    def held(self, reason: Reason, detail: str) -> Decision:
        """The decision with the present number in place of a lower one, and why."""
        kept = self.drain and self.drain._replace(replicas=self.current, remove=())
        steps = (*self.steps, Step(reason, self.current, detail))
        return self._replace(desired=self.current, steps=steps, drain=kept)

    @property
    def scheduled(self) -> str:
        """Which windows of the schedule set values besides bounds, and which; "" if none does."""
        told = (each.detail for each in self.steps if each.reason is Reason.SCHEDULED_SETTINGS)
        return next(told, "")

    @property
    def direction(self) -> str:
        """`up`, `down` or `none`."""
        if self.desired == self.current:
            return "none"
        return "up" if self.desired > self.current else "down"

    @property
    def reason(self) -> Reason:
        """The last word of the pipeline."""
        last = self._last_word
        return last.reason if last else Reason.DESIRED_WITHIN_RANGE

    @property
    def detail(self) -> str:
        """One line for an Event or a log."""
        last = self._last_word
        return last.detail if last else "nothing to change"

    @property
    def _last_word(self) -> Step | None:
        """The last step that moved the number or held it; what is scheduled only explains it."""
        steps = reversed(self.steps)
        return next((each for each in steps if each.reason is not Reason.SCHEDULED_SETTINGS), None)
