"""What the forecast said of each five minutes before they came, by the code of the daemon. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from autoscaler.control.learning import NOTHING
from autoscaler.core import forecast
from autoscaler.core.forecast import SLOT
from autoscaler.core.now import Now
from autoscaler.core.trust import allowed


class Foreseen(NamedTuple):
    """Users of a slot. at: its beginning. came: None: it is not over, or nobody counted.

    expected: what the forecast says; None: nothing, or it is not used. allowed: how many may come
    in 99.9 % of the slots of which that is said.
    """

    at: float
    came: float | None
    expected: float | None
    allowed: float | None


def foreseen(rates: Mapping[int, float], first: int, last: int) -> list[Foreseen]:
    """Return what was said of each slot before it came, and what came.

    rates: arrivals a second by the number of the slot, as Prometheus has them. first, last:
    numbers of slots; what is said of those after the last one that was counted is still to come.
    """
    profile = forecast.learnt(NOTHING, {n: rate for n, rate in rates.items() if n < first})
    found = []
    for number in range(first, last + 1):
        rate = forecast.expected(profile, 0.0, Now(number * SLOT))
        users = None if rate is None else rate * SLOT
        came = rates.get(number)
        found.append(
            Foreseen(
                number * SLOT,
                None if came is None else came * SLOT,
                users,
                None if users is None else allowed(users),
            )
        )
        if came is not None:
            profile = forecast.learnt(profile, {number: came})
    return found
