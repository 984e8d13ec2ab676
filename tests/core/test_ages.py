"""Counts tell how old sessions are, and ages which pod will be empty first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.decide import decide
from autoscaler.core.drain.ages import MOST, follow, weighted_sessions
from autoscaler.core.drain.packing import Landing
from autoscaler.core.drain.plan import plan_drain
from autoscaler.core.now import Now
from autoscaler.core.schedule import Bounds
from autoscaler.model import (
    Ages,
    Average,
    Cause,
    Cordon,
    Occupancy,
    PodState,
    Sample,
    State,
    Stays,
    Traffic,
)
from tests.builders import NOW, observation, pod, policy
from tests.core.drains import leaving, serving, sightings, told

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
UID = "uid-a"


def holding(count: int | None, oldest: float | None = None, **more: Any) -> PodState:
    """A pod with so many sessions, of which the oldest began so many seconds after NOW."""
    since = None if oldest is None else Sample(round(NOW + oldest), NOW)
    return pod("a", sessions=count, oldest_session=since, **more)


def begins(ages: Ages | None, uid: str = UID) -> list[float]:
    """When the sessions of a pod began, in seconds after NOW."""
    assert ages is not None
    return [begin - NOW for begin in ages.begins[uid]]


Looks = list[tuple[float, PodState]]
COUNTS: dict[str, tuple[Looks, list[float]]] = {
    "whoever is new came when the count rose": (
        [(0, holding(0)), (30, holding(1)), (60, holding(3))],
        [30, 60, 60],
    ),
    "the exporter knows the time of the oldest better": (
        [(0, holding(0)), (30, holding(2)), (60, holding(2, 10))],
        [10, 30],
    ),
    "sessions older than the oldest have left": (
        [(0, holding(0)), (60, holding(1, 60)), (600, holding(2, 60)), (900, holding(1, 600))],
        [600],
    ),
    "nobody is older than the oldest, also where there are as many as before": (
        [(0, holding(0)), (60, holding(2, 60)), (600, holding(3, 60)), (900, holding(3, 600))],
        [600, 600, 600],
    ),
    "while the oldest is there another one has left, the next one as far as we know": (
        [
            (0, holding(0)),
            (60, holding(1, 60)),
            (300, holding(2, 60)),
            (600, holding(3, 60)),
            (900, holding(2, 60)),
        ],
        [60, 600],
    ),
    "an answer of the sidecar is newer than what Prometheus knows of the oldest": (
        [
            (0, holding(0)),
            (60, holding(1, 60)),
            (300, holding(2, 60)),
            (330, holding(3, 60)),
            (900, holding(3, 60, occupancy=Occupancy(2))),
            (915, holding(3, 300, occupancy=Occupancy(2))),
        ],
        [300, 330],
    ),
    "an exporter may be wrong by some seconds": (
        [(0, holding(0)), (60, holding(1, 60)), (75, holding(1, 70)), (90, holding(1, 60))],
        [60],
    ),
    "of a worker that hangs the oldest session seems to be younger at each scrape": (
        [(0, holding(3, -900)), (20, holding(3, -880)), (40, holding(3, -860))],
        [-860, -450, 0],
    ),
    "a time that is yet to come is taken as it is": (
        [(0, holding(1, 90)), (60, holding(2, 90))],
        [90, 90],
    ),
    "those who were there before us came at any time since the oldest": (
        [(0, holding(3, -3_600))],
        [-3_600, -1_800, 0],
    ),
    "or now, where no exporter tells the oldest": ([(0, holding(2))], [0, 0]),
    "a pod without a count keeps what is known": (
        [(0, holding(0)), (60, holding(2)), (90, holding(None))],
        [60, 60],
    ),
    "a draining pod is counted by its sidecar": (
        [(0, holding(0)), (60, holding(2)), (90, holding(2, occupancy=Occupancy(1)))],
        [60],
    ),
    "nobody is left": ([(0, holding(0)), (60, holding(2)), (90, holding(0))], []),
}


@pytest.mark.parametrize(("looks", "expected"), COUNTS.values(), ids=COUNTS.keys())
def test_counts_tell_when_sessions_began(looks: Looks, expected: list[float]) -> None:
    ages = None
    for after, each in looks:
        ages = follow(ages, [each], NOW + after)
    assert begins(ages) == expected


looks = st.lists(
    st.tuples(st.integers(0, 12), st.none() | st.integers(-900, 2_000), st.integers(0, 900)),
    min_size=1,
    max_size=30,
)


@given(looks)
def test_each_session_of_a_pod_has_a_beginning_which_changes_with_what_is_told_alone(
    counts: list[tuple[int, int | None, int]],
) -> None:
    ages, at = None, NOW
    for count, age, pause in counts:
        at += pause
        seen = holding(count, None if age is None or not count else at - NOW - age)
        ages = follow(ages, [seen], at)
        found = ages.begins[UID]
        assert len(found) == count
        assert list(found) == sorted(found)
        later = seen.oldest_session and seen.oldest_session._replace(at=at + 60)
        assert follow(ages, [replace(seen, oldest_session=later)], at + 60) is ages


def test_what_is_gone_is_forgotten() -> None:
    ages = follow(None, [holding(2), pod("b", sessions=1)], NOW)
    assert follow(ages, [pod("b", sessions=1)], NOW + 2).begins.keys() == {"uid-b"}


def test_a_pod_that_tells_an_absurd_number_costs_no_more_than_a_thousand_sessions() -> None:
    ages = follow(follow(None, [holding(2**62)], NOW), [holding(2**61)], NOW + 60)
    assert len(begins(ages)) == MOST


def weight(*minutes: float) -> float:
    """The weight of sessions that have been there for so long, where one lasts an hour."""
    return weighted_sessions([NOW - MINUTE * each for each in minutes], NOW, HOUR)


def test_a_session_that_has_just_begun_counts_as_two_that_have_been_there_for_long() -> None:
    assert weight(0) == 2.0
    assert weight(30) == 1.5
    assert weight(60 * 24 * 7) == pytest.approx(1.0, abs=0.01)
    assert weight() == 0.0


@given(st.lists(st.floats(0, 50_000), max_size=12), st.floats(0, 50_000))
def test_one_more_session_never_empties_a_pod_sooner(there: list[float], more: float) -> None:
    assert len(there) <= weight(*there) < weight(*there, more) <= 2 * len(there) + 2


@given(st.floats(0, 5_000), st.floats(0, 5_000))
def test_an_older_session_never_counts_more(one: float, other: float) -> None:
    assert weight(max(one, other)) <= weight(min(one, other))


def aged(**minutes: list[float]) -> Ages:
    """Pods whose sessions have lasted for so many minutes."""
    return Ages(
        {f"uid-{name}": tuple(NOW - MINUTE * m for m in each) for name, each in minutes.items()},
        NOW,
    )


def test_a_step_of_the_clock_moves_all_times_and_no_age() -> None:
    ages = aged(a=[50, 5])
    moved = ages.shifted(-HOUR)
    assert [moved.at - begin for begin in moved.begins["uid-a"]] == [50 * MINUTE, 5 * MINUTE]
    assert State(ages=ages).shifted(HOUR).ages == ages.shifted(HOUR)


RESERVE = Cordon(Cause.RESERVE, NOW - 60)


def reserve(name: str, sessions: int) -> PodState:
    return serving(name, sessions, routable=False, cordon=RESERVE)


def planned(
    ages: Ages, *pods: PodState, wanted: int, landing: Landing | None, stay: float | None
) -> dict[str, str]:
    rules = policy()
    assert rules.drain is not None
    stays = Stays(NOW, Average(), Average(), NOW, stay)
    state = State(sightings=sightings(*pods), ages=ages, traffic=Traffic(NOW, stays=stays))
    bounds, seen = Bounds(1, 20), observation(pods=pods)
    plan = plan_drain(rules, rules.drain, seen, wanted, wanted, bounds, state, Now(NOW), landing)
    return told(plan)


FEW, ALL = Landing(4, 1), Landing(100, 1)
PLANS: dict[str, tuple[Ages, list[PodState], int, Landing, dict[str, str]]] = {
    "drained is the pod that will be empty first, not the one with the fewest sessions": (
        aged(a=[240, 200, 180], b=[3, 2], c=[1] * 6),
        [serving("a", 3), serving("b", 2), serving("c", 6)],
        2,
        ALL,
        {"a": "cordon scale-down"},
    ),
    "of equally full pods that goes to the reserve which will be empty first": (
        aged(a=[3, 2], b=[52, 50], c=[1] * 6),
        [serving("a", 2), serving("b", 2), serving("c", 6)],
        3,
        Landing(8, 1),
        {"b": "cordon reserve"},
    ),
    "of equally full pods that is opened which will be empty last": (
        aged(a=[52, 50], b=[3, 2], c=[1] * 9),
        [reserve("a", 2), reserve("b", 2), serving("c", 9)],
        3,
        FEW,
        {"b": "uncordon"},
    ),
    "when load returns, that serves again which would be empty last": (
        aged(a=[240, 200, 180], b=[3, 2], c=[1] * 6),
        [
            leaving("a", Occupancy(3), protected=True),
            leaving("b", Occupancy(2), protected=True),
            serving("c", 6),
        ],
        2,
        ALL,
        {"b": "uncordon"},
    ),
}


@pytest.mark.parametrize(
    ("ages", "pods", "wanted", "landing", "expected"), PLANS.values(), ids=PLANS.keys()
)
def test_pods_are_chosen_by_when_they_will_be_empty(
    ages: Ages, pods: list[PodState], wanted: int, landing: Landing, expected: dict[str, str]
) -> None:
    assert planned(ages, *pods, wanted=wanted, landing=landing, stay=HOUR) == expected


def test_while_nobody_knows_how_long_sessions_last_the_one_with_the_fewest_is_drained() -> None:
    ages, pods, wanted, landing, _ = PLANS[next(iter(PLANS))]
    plan = planned(ages, *pods, wanted=wanted, landing=landing, stay=None)
    assert plan == {"b": "cordon scale-down"}


def test_decisions_follow_the_sessions_of_the_pods() -> None:
    _, first = decide(policy(), observation(1, 2), None, NOW)
    _, second = decide(policy(), observation(1, 3), first, NOW + 20)
    assert begins(second.ages, "uid-pod-1") == [0, 0, 20]


def test_without_drains_nobody_asks_how_old_sessions_are() -> None:
    _, state = decide(policy(drain="none"), observation(1, 2), None, NOW)
    assert state.ages is None
