"""Goals that a simulated policy must meet, such as `cut == 0` and `refused < 0.1%`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from autoscaler.policy import Policy, RefusalTarget

if TYPE_CHECKING:
    from autoscaler.simulation.score import Score

_GOAL = re.compile(r"\s*([a-z_]+)\s*(<=|>=|==|<|>)\s*(\d+(?:\.\d+)?)\s*(%?)\s*", re.ASCII)
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}
# The percentage of refused users that a policy without a goal of its own may have.
DEFAULT_REFUSED = 0.1
# The figures that a goal may name, by name and unit.
FIGURES: Mapping[tuple[str, str], Callable[[Score], float]] = {
    ("refused", ""): lambda score: score.refused,
    ("refused", "%"): lambda score: score.refused_percent,
    ("waited", ""): lambda score: score.waited,
    ("waiting_minutes", ""): lambda score: score.waiting_minutes,
    ("crowded_minutes", ""): lambda score: score.crowded_minutes,
    ("cut", ""): lambda score: score.cut,
    ("cut", "%"): lambda score: 100.0 * score.cut / max(score.sessions, 1),
    ("minutes_lost", ""): lambda score: score.minutes_lost,
    ("replica_hours", ""): lambda score: score.replica_hours,
    ("peak_replicas", ""): lambda score: score.peak_replicas,
    ("scale_ups", ""): lambda score: score.scale_ups,
    ("scale_downs", ""): lambda score: score.scale_downs,
    ("seat_utilization", "%"): lambda score: score.seat_utilization,
    ("regret", "%"): lambda score: score.regret,
}


class Goal(NamedTuple):
    """A goal: a figure, an operator and a number. unit: "%" for a percentage, else ""."""

    figure: str
    operator: str
    number: float
    unit: str

    def __str__(self) -> str:
        return f"{self.figure} {self._wanted}"

    @property
    def _wanted(self) -> str:
        return f"{self.operator} {self.number:g}{self.unit}"

    def is_met_by(self, value: float) -> bool:
        """Return whether a value of the figure meets the goal."""
        return _OPERATORS[self.operator](value, self.number)

    def missed(self, score: Score) -> str:
        """Return how a run misses the goal; "" if it meets it."""
        found = FIGURES[self.figure, self.unit](score)
        if self.is_met_by(found):
            return ""
        return f"{self.figure} is {found:.6g}{self.unit}, the goal is {self._wanted}"


def goal(text: str) -> Goal:
    """Return the goal that a text describes. Raises ValueError."""
    match = _GOAL.fullmatch(text)
    if match is None:
        example = "such as 'cut == 0' or 'refused < 0.1%'"
        raise ValueError(f"expected a figure, an operator and a number, {example}")
    name, compare, number, unit = match.groups()
    if (name, unit) in FIGURES:
        return Goal(name, compare, float(number), unit)
    if (name, "%") in FIGURES:
        raise ValueError(f"{name} is a percentage, expected {name} {compare} {number}%")
    if (name, "") in FIGURES:
        raise ValueError(f"{name} is a number, expected {name} {compare} {number} without %")
    names = ", ".join(dict.fromkeys(each for each, _ in FIGURES))
    raise ValueError(f"there is no figure {name}, expected one of {names}")


def own_goal(policy: Policy) -> Goal:
    """Return the goal that the policy itself has, or the default."""
    spare = policy.sessions.spare if policy.sessions else None
    share = spare.refuse if isinstance(spare, RefusalTarget) else DEFAULT_REFUSED
    return goal(f"refused < {share:f}%")
