"""Which forecasts are worth their pods: those that were not much more wrong of late than none.

After a holiday, or when an app got another name, the days and weeks before say nothing, and seats
would be kept for nobody. So each forecast is measured by what came, also while it is not used, and
is used again once it is right. Two questions are asked, of the last day that was seen:

* Error: how many users came more, or fewer, than it said? Without a forecast, as many are expected
  as in the five minutes before. One that is twice as wrong is not used. One that says too little
  is no more wrong than none, because the larger of both counts.
* Coverage: how many users came in slots in which no more came than the larger of both allows for?
  Below half of them, rushes come that nobody foresees. What they say counts on, for it can only
  add, but they are no reason to keep fewer seats than at an unknown time.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import NamedTuple

from autoscaler.model import Score

# What was so many slots ago counts 1/e: a day.
MEMORY = 288
# A good forecast of few users is sometimes half more wrong than none, by chance.
WORSE = 2.0
# Being wrong about fewer users than this in a day says nothing.
FEW = 10.0
# The least share of the users.
COVERED = 0.5
# 99.9 % of a normal distribution are below so many standard deviations.
Z_999 = 3.09


class Said(NamedTuple):
    """What the weeks and the days before say of a slot: a rate or a count; None: not known."""

    week: float | None
    day: float | None


def after_slot(score: Score, said: Said, came: float, before: float) -> Score:
    """Return the score after a slot. In users: what was said, who came, and who did before it."""
    most = max((each for each in said if each is not None), default=None)
    is_beyond = most is not None and came > allowed(most)
    kept = exp(-1.0 / MEMORY)
    return Score(
        week=score.week * kept + _error(said.week, came, before),
        day=score.day * kept + _error(said.day, came, before),
        before=score.before * kept + abs(came - before),
        came=score.came * kept + (0.0 if most is None else came),
        beyond=score.beyond * kept + (came if is_beyond else 0.0),
    )


def trusted(score: Score, said: Said) -> float | None:
    """Return the larger one of what is said by forecasts that are used; None: none is."""
    right = [
        rate
        for rate, error in zip(said, errors_of(score), strict=True)
        if rate is not None and error <= WORSE
    ]
    return max(right, default=None)


def doubts(score: Score, said: Said) -> str:
    """Return in words what is wrong with what is said; "": nothing, or nothing is said."""
    if said == (None, None):
        return ""
    if trusted(score, said) is None:
        return "is ignored: its error of the last day is larger than without one"
    return "" if is_covering(score) else "is too low: it allows for few of the last day's users"


def errors_of(score: Score) -> tuple[float, float]:
    """Return how many times as wrong as none the weeks and the days are; above WORSE: not used."""
    least = max(score.before, FEW)
    return score.week / least, score.day / least


def coverage(score: Score) -> float | None:
    """Return the share of users in slots with no more of them than allowed for; None: no users."""
    return 1.0 - score.beyond / score.came if score.came else None


def is_covering(score: Score) -> bool:
    """Whether enough users came in slots that the forecast allows for."""
    return score.beyond <= (1.0 - COVERED) * max(score.came, FEW)


def allowed(users: float) -> float:
    """Return how many users may come where so many are expected; one seat is always free."""
    return users + Z_999 * sqrt(users) + 1.0


def _error(said: float | None, came: float, before: float) -> float:
    without = abs(came - before)
    if said is None:
        return without
    return said - came if said > came else min(came - said, without)
