"""What tuning found: one sentence, a table, and one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autoscaler.simulation.candidates import Candidate, Path
from autoscaler.simulation.intervals import Interval, refused_interval, refused_percent
from autoscaler.simulation.intervals import replica_hours as hours_of
from autoscaler.simulation.recommendation import Fold, Recommendation, Verdict
from autoscaler.simulation.summary import rounded
from autoscaler.simulation.timeline import Table
from autoscaler.simulation.tuning import Finalist, Study, screened_days


def values_text(candidate: Candidate, current: Candidate) -> str:
    """Return where a candidate differs from the current policy: `spare 25%, cooldown.down 10m`."""
    texts = [f"{_name(path)} {_value(value)}" for path, value in candidate.edits.items()]
    placement = candidate.assumptions.placement
    if placement is not current.assumptions.placement:
        texts.append(f"placement {placement.value}")
    return ", ".join(texts) or "as it is"


def _name(path: Path) -> str:
    keys = path[2:] if path[0] == "metrics" else path
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".")


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {each}" for key, each in value.items()) + "}"
    return value if isinstance(value, str) else json.dumps(value)


def sentence(found: Recommendation, tried: int) -> str:
    """Return what to do, and why. tried: the number of candidates."""
    best, upper = found.best, _upper(found.best or found.current)
    if best is None or found.saving is None:
        return _missed(found, tried)
    values = values_text(best.candidate, found.current.candidate)
    users = f"at most {upper:.3g} % of users without a seat and no session cut"
    of = f"the cheapest of {tried} policies that meets {found.goal}"
    if found.verdict is Verdict.BETTER:
        change = _change(_percent_of_cost(found.saving, found))
        return f"Recommended: {values}; this is {of}, with {users}, and costs {change}."
    if found.verdict is Verdict.CURRENT:
        return f"Keep the policy: it is {of}, with {users}."
    low, high = _percent_of_cost(found.saving, found)
    why = (
        f"({values}) differs from it in cost by {low:+.3g} to {high:+.3g} %, so perhaps not at all"
    )
    if found.current_meets:
        return f"Keep the policy: {of} {why}."
    known = f"the current policy may refuse {_upper(found.current):.3g} % of users"
    return f"Nothing is recommended: {known}, but {of} {why}, nor does it surely refuse fewer."


def _missed(found: Recommendation, tried: int) -> str:
    least = min((_upper(each) for each in found.finalists if not each.outcome.cut), default=None)
    text = (
        f"Nothing is recommended: none of {tried} policies surely meets {found.goal} without cuts"
    )
    if least is None:
        return f"{text}, because all end sessions; set drain."
    text += f"; the best may refuse {least:.3g} % of users"
    nobody = refused_interval([day._replace(refused=0) for day in found.current.outcome.days]).high
    if not found.goal.is_met_by(nobody):
        return f"{text}, and so few sessions could not show less than {nobody:.2g} %."
    return f"{text}."


def _upper(finalist: Finalist) -> float:
    return refused_interval(finalist.outcome.days).high


def _percent_of_cost(interval: Interval, found: Recommendation) -> Interval:
    cost = max(found.current.outcome.figures.cost, 1e-9)
    return Interval(*(100.0 * end / cost for end in interval))


def _change(interval: Interval) -> str:
    low, high = interval
    if high < 0:
        return f"{-high:.3g} to {-low:.3g} % less than the current policy (95 % interval)"
    return f"{low:+.3g} to {high:+.3g} % more than the current policy (95 % interval)"


def table(found: Recommendation, price: float | None) -> Table:
    """Return the current policy, the recommended one, and its neighbors on the Pareto front.

    price: of a replica-hour, if it is known.
    """
    money = () if price is None else ("cost",)
    columns = ("", "replica-hours", *money, "no seat in %", "cut", "values")
    rows = []
    for title, each in _rows(found):
        cut, refused, cost = each.outcome.figures
        low, high = refused_interval(each.outcome.days)
        spent = () if price is None else (f"{cost * price:,.2f}",)
        users = f"{refused:.3f} ({low:.3f}-{high:.3f})"
        values = values_text(each.candidate, found.current.candidate)
        rows.append((title, f"{cost:,.1f}", *spent, users, f"{cut:,}", values))
    return Table(columns, tuple(rows))


def _rows(found: Recommendation) -> Iterator[tuple[str, Finalist]]:
    yield "current", found.current
    if found.recommended:
        yield "recommended", found.recommended
    elif found.best and found.best is not found.current:
        yield "meets the goal", found.best
    chosen = found.best or found.current
    cost = chosen.outcome.figures.cost
    others = [each for each in found.front if each not in (chosen, found.current)]
    cheaper = [each for each in others if each.outcome.figures.cost < cost]
    if cheaper:
        yield "next cheaper", cheaper[-1]
    if len(others) > len(cheaper):
        yield "next dearer", others[len(cheaper)]


def walk_forward(found: Recommendation) -> list[str]:
    """Return a line for each step of the walk-forward, or why there is none."""
    if not found.folds:
        return ["No walk-forward: the sessions cover less than two weeks."]
    return [_fold(fold, found) for fold in found.folds]


def _fold(fold: Fold, found: Recommendation) -> str:
    weeks = f"Chosen by weeks 1 to {fold.weeks}" if fold.weeks > 1 else "Chosen by week 1"
    if fold.chosen is None:
        return f"{weeks}: none, because none met {found.goal} in them."
    values = values_text(fold.chosen.candidate, found.current.candidate)
    ours, theirs = (
        f"{hours_of(days):,.1f} replica-hours, {refused_percent(days):.3f} % without a seat"
        for days in (fold.tested, fold.current)
    )
    week = f"in week {fold.weeks + 1}: {ours}"
    return f"{weeks}: {values}; {week} (current policy: {theirs})."


def method(study: Study, exact: int) -> str:
    """Return how the numbers were made. exact: policies that were measured on all days."""
    return (
        f"{len(study.candidates)} policies were screened on single days of the first "
        f"{screened_days(study)}, and {exact} measured on all {len(study.edges) - 1}. "
        "Intervals: 95 %, block bootstrap over days; costs are compared day by day."
    )


def document(
    found: Recommendation, tried: int, price: float | None, diff: Sequence[str]
) -> dict[str, Any]:
    """Return all of it as JSON values."""
    front = found.front
    policies = [
        {**_plain(each, found, price), "on_front": each in front} for each in found.finalists
    ]
    content = {
        "verdict": found.verdict.value,
        "sentence": sentence(found, tried),
        "goal": str(found.goal),
        "tried": tried,
        "current": _plain(found.current, found, price),
        "recommended": found.recommended and _plain(found.recommended, found, price),
        "cost_difference": found.saving,
        "refused_percent_difference": found.gain,
        "diff": list(diff),
        "policies": policies,
        "walk_forward": walk_forward(found),
    }
    rounded_content: dict[str, Any] = rounded(content)
    return rounded_content


def _plain(each: Finalist, found: Recommendation, price: float | None) -> dict[str, Any]:
    cut, refused, cost = each.outcome.figures
    return {
        "values": values_text(each.candidate, found.current.candidate),
        "replica_hours": cost,
        **({} if price is None else {"cost": cost * price}),
        "refused_percent": refused,
        "refused_percent_interval": refused_interval(each.outcome.days),
        "cut": cut,
    }
