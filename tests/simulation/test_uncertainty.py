"""Intervals in the output of a simulation: of the policy, and of its difference from the others."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from autoscaler.simulation.comparison import Contender, Result, compare
from autoscaler.simulation.engine import Assumptions
from autoscaler.simulation.front import WhenFull
from autoscaler.simulation.trace import Session, Trace, trace_of
from autoscaler.simulation.uncertainty import Uncertainty, intervals_of, lines, uncertainty
from tests.builders import policy

DAY = 86_400.0
ASSUMED = Assumptions(seats=10, tick=60.0)


def days(count: int) -> Trace:
    """So many days of 40 visits of an hour each, around noon."""
    random = Random(1)
    starts = [
        DAY * (20_000 + day) + random.gauss(DAY / 2, 5_000.0)
        for day in range(count)
        for _ in range(40)
    ]
    return trace_of("days", [Session(at, at + 3_600.0) for at in starts])


def compared(trace: Trace) -> list[Result]:
    small, large = (
        policy(metrics=[{"type": "sessions", "seats": 10, "spare": spare}]) for spare in (0, 25)
    )
    rivals = [Contender("large", large, ASSUMED), Contender("same", small, ASSUMED)]
    return compare([Contender("small", small, ASSUMED), *rivals], trace, lambda _: None)


@pytest.fixture(scope="module")
def found() -> Uncertainty:
    trace = days(8)
    result = uncertainty(compared(trace), trace, "UTC")
    assert result is not None
    return result


def test_the_policy_is_compared_with_each_other_one(found: Uncertainty) -> None:
    large, same, static = found.comparisons

    assert large.replica_hours.high < 0 < large.refused.low
    assert same == ("same", (0.0, 0.0), (0.0, 0.0))
    assert static.name.startswith("static fleet of ")


def test_each_run_has_its_own_intervals(found: Uncertainty) -> None:
    trace = days(8)
    results = compared(trace)

    for result, figures in zip(results, found.figures, strict=True):
        assert figures.replica_hours.low <= result.score.replica_hours + 1e-6
        assert figures.replica_hours.high >= result.score.replica_hours - 1e-6
        assert figures.refused.low <= result.score.refused_percent <= figures.refused.high
    assert figures.refused.low == 0.0  # of the static fleet, which refuses nobody


@pytest.mark.parametrize(
    ("when_full", "expected"),
    [
        pytest.param(WhenFull.REFUSE, "percentage points refused.", id="users are refused"),
        pytest.param(WhenFull.WAIT, "% replica-hours.", id="users wait"),
    ],
)
def test_there_is_a_line_for_each(found: Uncertainty, when_full: WhenFull, expected: str) -> None:
    said = list(lines(found, when_full))

    assert said[0].startswith("95 % intervals over ")
    assert [line.split(":")[0] for line in said[1:3]] == [
        "Compared with large",
        "Compared with same",
    ]
    assert len(said) == 4
    assert all(line.endswith(expected) for line in said[1:])


def test_json_has_the_ends_of_each_interval(found: Uncertainty) -> None:
    own, large = intervals_of(found, 0), intervals_of(found, 1)

    assert own.keys() == {"intervals"}
    assert large.keys() == {"intervals", "policy_differs"}
    for ends in (*own["intervals"].values(), *large["policy_differs"].values()):
        assert all(low <= high for low, high in pairwise(ends))


def test_two_days_tell_nothing() -> None:
    trace = days(2)

    assert uncertainty(compared(trace), trace, "UTC") is None
