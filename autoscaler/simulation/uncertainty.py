"""How sure the figures of a run are, and how surely the policy differs from the others.

All are 95 % intervals over the days of the trace. The policy is compared with another run day by
day, which removes what both have in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from autoscaler.simulation.comparison import Result
from autoscaler.simulation.front import WhenFull
from autoscaler.simulation.intervals import (
    FEWEST_DAYS,
    Interval,
    cost_interval,
    day_edges,
    days_of,
    refused_difference,
    refused_interval,
    relative_cost,
)
from autoscaler.simulation.trace import Trace


class Figures(NamedTuple):
    """The intervals of one run. replica_hours: over the whole trace. refused: in percent."""

    replica_hours: Interval
    refused: Interval


class Comparison(NamedTuple):
    """By how much the policy differs from another run.

    replica_hours: in percent of those of the other one. refused: in percentage points.
    """

    name: str
    replica_hours: Interval
    refused: Interval


class Uncertainty(NamedTuple):
    """The intervals of all runs in their order, and the policy compared with each other one."""

    days: int
    figures: tuple[Figures, ...]
    comparisons: tuple[Comparison, ...]


def uncertainty(results: Sequence[Result], trace: Trace, zone: str) -> Uncertainty | None:
    """Return how sure the results are; None if the trace has less than three days.

    results: the policy's first. zone: in which the days begin at midnight.
    """
    edges = day_edges(trace.start, trace.end, zone)
    if len(edges) - 1 < FEWEST_DAYS:
        return None
    own, *others = (days_of(each.run, trace, edges) for each in results)
    return Uncertainty(
        len(own),
        tuple(Figures(cost_interval(each), refused_interval(each)) for each in (own, *others)),
        tuple(
            Comparison(each.name, relative_cost(own, days), refused_difference(own, days))
            for each, days in zip(results[1:], others, strict=True)
        ),
    )


def lines(found: Uncertainty, when_full: WhenFull) -> Iterator[str]:
    """Yield the intervals of the policy, and of its difference from each other run, in words.

    when_full: unless users are refused, none are told.
    """
    refuses = when_full is WhenFull.REFUSE
    hours, refused = found.figures[0]
    text = f"95 % intervals over {found.days} days: {hours.low:,.1f} to {hours.high:,.1f} "
    text += "replica-hours"
    yield f"{text}, {refused.low:.2f} to {refused.high:.2f} % refused." if refuses else f"{text}."
    for name, cost, users in found.comparisons:
        text = f"Compared with {name}: {cost.low:+.1f} to {cost.high:+.1f} % replica-hours"
        points = f", {users.low:+.2f} to {users.high:+.2f} percentage points refused"
        yield f"{text}{points if refuses else ''}."


def intervals_of(found: Uncertainty, number: int) -> dict[str, Any]:
    """Return the intervals of a run, and how the policy differs from it, as JSON values.

    number: of the run among the results, of which the policy's is 0.
    """
    figures = found.figures[number]
    values: dict[str, Any] = {"intervals": _values(figures.replica_hours, "", figures.refused)}
    if number:
        compared = found.comparisons[number - 1]
        values["policy_differs"] = _values(compared.replica_hours, "_percent", compared.refused)
    return values


def _values(hours: Interval, unit: str, refused: Interval) -> dict[str, list[float]]:
    return {
        f"replica_hours{unit}": [round(end, 4) for end in hours],
        "refused_percent": [round(end, 4) for end in refused],
    }
