"""Successive halving: many candidates on a few days, the better half on twice as many, and so on.

A candidate that is better than another one in no figure and worse in one is *dominated* by it. The
order of candidates keeps that: whoever dominates another one is before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from autoscaler.simulation.candidates import halton

# Candidates that are measured exactly, besides the current policy.
FINALISTS = 12
# A candidate that misses the goal by this factor on a few days is not expected to meet it on all.
HOPELESS = 10.0


class Figures(NamedTuple):
    """What a policy costs users and the operator; lower is better.

    refused: share of users without a seat, in percent. cost: replica-hours.
    """

    cut: int
    refused: float
    cost: float

    def dominates(self, other: Figures) -> bool:
        """Return whether no figure is worse than the other's, and one is better."""
        return self != other and all(own <= its for own, its in zip(self, other, strict=True))


class Stage(NamedTuple):
    """So many candidates are tried, on so many days."""

    candidates: int
    days: int


def stages(candidates: int, days: int) -> list[Stage]:
    """Return the stages before the exact runs, each with half the candidates and twice the days."""
    found = []
    tried = 2
    while candidates > FINALISTS and tried <= days:
        found.append(Stage(candidates, tried))
        candidates, tried = candidates // 2, tried * 2
    return found


def representative(sessions: Sequence[int]) -> list[int]:
    """Return the numbers of all days: the busiest first, then a usual one, then those between.

    sessions: of each day. Any beginning of the list is spread evenly over busy and quiet days.
    """
    count = len(sessions)
    ranked = sorted(range(count), key=lambda day: (-sessions[day], day))
    places = dict.fromkeys(int(halton(index, 2) * count) for index in range(2 * count))
    return [ranked[place] for place in places]


def ranked(figures: Sequence[Figures], goal: float) -> list[int]:
    """Return the numbers of the candidates, the most promising first.

    goal: share of users without a seat, in percent. First come those that nobody dominates, then
    those that only these dominate, and so on; within each the cheapest that meet the goal.
    """
    fronts = _fronts(figures)

    def promise(number: int) -> tuple[float, ...]:
        cut, refused, cost = figures[number]
        hopeless, missed = cut > 0 or refused > HOPELESS * goal, refused > goal
        return (hopeless, fronts[number], missed, refused if missed else cost, number)

    return sorted(range(len(figures)), key=promise)


def _fronts(figures: Sequence[Figures]) -> list[int]:
    """Return for each candidate how long the longest chain is in which each dominates the next."""
    fronts = [0] * len(figures)
    # Whoever dominates another one is before it in the order of its figures.
    order = sorted(range(len(figures)), key=figures.__getitem__)
    for place, number in enumerate(order):
        before = (each for each in order[:place] if figures[each].dominates(figures[number]))
        fronts[number] = max((fronts[each] + 1 for each in before), default=0)
    return fronts


def undominated(figures: Sequence[Figures]) -> list[int]:
    """Return the numbers of the candidates that no other one dominates: the Pareto front."""
    return [number for number, front in enumerate(_fronts(figures)) if front == 0]
