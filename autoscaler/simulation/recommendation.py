"""The recommendation: the cheapest policy that is known to meet the goal, if it is another one.

What is known are 95 % intervals: the upper end of the share of users without a seat must meet the
goal, and the difference from the current policy, day by day, must not hold zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from autoscaler.simulation.goals import Goal
from autoscaler.simulation.halving import undominated
from autoscaler.simulation.intervals import (
    Day,
    Interval,
    cost_difference,
    refused_difference,
    refused_interval,
)
from autoscaler.simulation.tuning import WEEK, Finalist


class Verdict(StrEnum):
    """What the intervals show of the cheapest policy that meets the goal.

    BETTER: it is cheaper than the current policy, or the current one misses the goal. CURRENT: it
    is the current policy. UNCERTAIN: its difference from the current policy may be zero. MISSED:
    there is none.
    """

    BETTER = "better"
    CURRENT = "current"
    UNCERTAIN = "uncertain"
    MISSED = "missed"


class Fold(NamedTuple):
    """One step of the walk-forward: chosen by the first `weeks`, tested on the week after them.

    chosen: None if no policy met the goal in those weeks. tested, current: days of the tested week,
    under the chosen and under the current policy.
    """

    weeks: int
    chosen: Finalist | None
    tested: tuple[Day, ...]
    current: tuple[Day, ...]


class Recommendation(NamedTuple):
    """What to do. best: the cheapest policy that meets the goal, even if it is not recommended.

    saving: by how many replica-hours the best one differs from the current policy; gain: by how
    many percentage points of users without a seat.
    """

    verdict: Verdict
    goal: Goal
    finalists: tuple[Finalist, ...]
    current: Finalist
    best: Finalist | None
    saving: Interval | None
    gain: Interval | None
    folds: tuple[Fold, ...]
    current_meets: bool

    @property
    def recommended(self) -> Finalist | None:
        """The policy to use in place of the current one, or None to keep it."""
        return self.best if self.verdict is Verdict.BETTER else None

    @property
    def front(self) -> list[Finalist]:
        """The finalists that no other one dominates, the cheapest first."""
        figures = [each.outcome.figures for each in self.finalists]
        found = [self.finalists[number] for number in undominated(figures)]
        return sorted(found, key=lambda each: each.outcome.figures.cost)


def recommend(finalists: Sequence[Finalist], wanted: Goal, screened: int) -> Recommendation:
    """Return what to do.

    finalists: the current policy first. wanted: of the share of users without a seat. screened: the
    days by which the finalists were chosen, which can test nothing.
    """
    current = finalists[0]
    days = len(current.outcome.days)
    best = _cheapest(finalists, wanted, days)
    current_meets = _meets(current, wanted, days)
    saving = gain = None
    if best:
        pair = best.outcome.days, current.outcome.days
        saving, gain = cost_difference(*pair), refused_difference(*pair)
    if best is None or saving is None or gain is None:
        verdict = Verdict.MISSED
    elif best is current:
        verdict = Verdict.CURRENT
    elif saving.high < 0 or (gain.high < 0 and not current_meets):
        verdict = Verdict.BETTER
    else:
        verdict = Verdict.UNCERTAIN
    folds = _walk_forward(finalists, wanted, screened)
    return Recommendation(
        verdict, wanted, tuple(finalists), current, best, saving, gain, folds, current_meets
    )


def _walk_forward(finalists: Sequence[Finalist], wanted: Goal, screened: int) -> tuple[Fold, ...]:
    """Return what would have been chosen after each week, and how the next week was with it."""
    current = finalists[0].outcome.days
    folds = []
    for begin in range(screened, len(current) - WEEK + 1, WEEK):
        chosen = _cheapest(finalists, wanted, begin)
        tested = chosen.outcome.days[begin : begin + WEEK] if chosen else ()
        folds.append(Fold(begin // WEEK, chosen, tested, current[begin : begin + WEEK]))
    return tuple(folds)


def _cheapest(finalists: Sequence[Finalist], wanted: Goal, days: int) -> Finalist | None:
    """Return the cheapest that meets the goal on the first days; of equals that of fewest edits."""

    def cost(each: Finalist) -> tuple[float, int, int]:
        spent = sum(day.replica_hours for day in each.outcome.days[:days])
        return spent, len(each.candidate.edits), each.number

    meeting = (each for each in finalists if _meets(each, wanted, days))
    return min(meeting, key=cost, default=None)


def _meets(finalist: Finalist, wanted: Goal, days: int) -> bool:
    upper = refused_interval(finalist.outcome.days[:days]).high
    return finalist.outcome.cut == 0 and wanted.is_met_by(upper)
