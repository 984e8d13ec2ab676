"""What Prometheus has of a live target, as the course of its pods, its decisions and its costs."""

from __future__ import annotations

from math import isnan
from typing import Any

import pytest

from autoscaler.simulation.live import (
    UNKNOWN,
    Costs,
    Held,
    Recorded,
    Told,
    costs_of,
    holds_of,
    timeline_of,
)
from autoscaler.simulation.timeline import Phase

STEP = 15
BUSY, SPARE, RESERVE = Phase.BUSY, Phase.SPARE, Phase.RESERVE
DRAINING, DRAINED = Phase.DRAINING, Phase.DRAINED


def values(*numbers: float | None) -> dict[float, float]:
    """A series with a point for each number, from second 0."""
    return {STEP * i: number for i, number in enumerate(numbers) if number is not None}


def recorded(points: int = 4, **series: Any) -> Recorded:
    names = ("sessions", "cordons", "replicas", "costs", "decisions", "held")
    empty: dict[str, Any] = {name: {} for name in names}
    return Recorded(0, STEP * (points - 1), STEP, **{**empty, **series})


@pytest.mark.parametrize(
    ("sessions", "cause", "phases"),
    [
        ((2, 2, 2, 2), None, [(0, BUSY)]),
        ((2, 0, 0, 1), None, [(0, BUSY), (15, SPARE), (45, BUSY)]),
        ((2, 2, 1, 0), "scale-down", [(0, BUSY), (15, DRAINING), (45, DRAINED)]),
        ((2, 2, 1, 0), "hand", [(0, BUSY), (15, DRAINING), (45, DRAINED)]),
        ((2, 2, 1, 0), "reserve", [(0, BUSY), (15, RESERVE)]),
        ((9, 9, 9, 9), "full", [(0, BUSY)]),
        ((None, 1, 1, 1), None, [(15, BUSY)]),
    ],
    ids=[
        "always busy",
        "spare for a while",
        "drained",
        "cordoned by hand",
        "in reserve",
        "full",
        "a new pod",
    ],
)
def test_a_pod_has_the_phases_of_its_sessions_and_its_cordon(
    sessions: tuple[int | None, ...], cause: str | None, phases: list[tuple[float, Phase]]
) -> None:
    cordons = {("pod-a", cause): values(None, 1, 1, 1)} if cause else {}
    found = recorded(sessions={("pod-a",): values(*sessions)}, cordons=cordons)

    (life,) = timeline_of(found, 10).lives
    assert (life.name, life.phases, life.ended_at) == ("pod-a", phases, None)


def test_a_pod_ends_after_its_last_point() -> None:
    found = recorded(sessions={("a",): values(1, 1), ("b",): values(1, 1, 1, 1)})

    timeline = timeline_of(found, 10)
    assert [life.ended_at for life in timeline.lives] == [30, None]
    assert [timeline.phases[BUSY].at(at) for at in (0, 15, 30, 45)] == [2, 2, 1, 1]


def test_sessions_are_those_of_all_pods_and_a_time_without_data_is_a_gap() -> None:
    found = recorded(sessions={("a",): values(1, 1, None, 4), ("b",): values(2, 2, None, 4)})

    sessions = timeline_of(found, 10).sessions
    assert [sessions.at(at) for at in (0, 15, 45)] == [3, 3, 8]
    assert isnan(sessions.at(30))


def changed(**series: Any) -> list[tuple[float, int, int, str, str]]:
    replicas = {("desired",): values(2, 3, 3, 2)}
    found = timeline_of(recorded(replicas=replicas, **series), 10)
    return [tuple(each) for each in found.changes]


def test_a_change_has_the_reason_that_was_counted_beside_it() -> None:
    decisions = {
        ("up", "MetricAboveTarget", "daemon-1"): values(None, 1, 1, 1),
        ("down", "Drained", "daemon-1"): values(7, 7, 7, 8),
        ("none", "DesiredWithinRange", "daemon-1"): values(1, 1, 2, 2),
    }

    assert [each[:4] for each in changed(decisions=decisions)] == [
        (15, 2, 3, "MetricAboveTarget"),
        (45, 3, 2, "Drained"),
    ]


def test_a_change_that_nobody_counted_says_so() -> None:
    assert changed() == [(15, 2, 3, "", UNKNOWN), (45, 3, 2, "", UNKNOWN)]


def test_the_words_that_were_heard_are_better_than_those_of_the_reason() -> None:
    replicas = {("desired",): values(2, 3, 3, 3)}
    told = [
        Told(16, 3, 2, "Drained", "of the change back"),
        Told(17, 2, 3, "MetricAboveTarget", "sessions: (22 connected + 4 spare) / 10 seats"),
    ]

    (change,) = timeline_of(recorded(replicas=replicas), 10, told).changes
    assert change.detail == "sessions: (22 connected + 4 spare) / 10 seats"


@pytest.mark.parametrize(
    ("counted", "held"),
    [
        (values(4, 4, 4, 4), []),
        (values(4, 6, 6, 7), [Held("PartialData", 3, 45)]),
        (values(None, 2, 2, 2), [Held("PartialData", 2, 15)]),
        (values(9, 9, 1, 2), [Held("PartialData", 2, 45)]),
        (values(4, None, None, 5), [Held("PartialData", 1, 45)]),
    ],
    ids=["before", "in it", "the first ones", "after a restart", "after a gap"],
)
def test_holds_are_what_the_counters_rose_by(counted: dict[float, float], held: list[Held]) -> None:
    assert holds_of(recorded(held={("PartialData", "daemon-1"): counted})) == held


def test_holds_of_two_daemons_are_added_and_the_longest_comes_first() -> None:
    held = {
        ("PartialData", "daemon-1"): values(0, 1, 1, 1),
        ("CooldownDown", "daemon-1"): values(0, 1, 2, 2),
        ("PartialData", "daemon-2"): values(None, None, None, 4),
    }

    assert holds_of(recorded(held=held)) == [
        Held("PartialData", 5, 45),
        Held("CooldownDown", 2, 30),
    ]


def test_costs_are_added_where_all_bounds_are_known() -> None:
    hour = 3_600
    costs = {
        ("billed",): {0: 4.0, hour: 4.0, 2 * hour: 9.0},
        ("sticky_bound",): {0: 2.0, hour: 3.0},
        ("fluid_bound",): {0: 1.0, hour: 1.0},
    }
    found = costs_of(Recorded(0, 2 * hour, hour, {}, {}, {}, costs, {}, {}))

    assert found == Costs(hours=2, billed=8, sticky=5, fluid=2)
    assert found.regret == pytest.approx(60)


def test_without_bounds_nobody_knows_the_cost() -> None:
    assert costs_of(recorded(costs={("billed",): values(2, 2, 2, 2)})) is None
