"""How long sessions last is learned from counts, and from that how soon a pod will be empty."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.decide import decide
from autoscaler.core.drain.ages import EDGES, ENOUGH, KNOWN_AFTER, MOST, follow, time_to_empty
from autoscaler.core.drain.packing import Landing
from autoscaler.core.drain.plan import plan_drain
from autoscaler.core.now import Now
from autoscaler.core.schedule import Bounds
from autoscaler.model import Ages, Cause, Cordon, Occupancy, PodState, Sample, State
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
        [(0, holding(0)), (30, holding(1, 17))],
        [17],
    ),
    "also of one that was counted before": (
        [(0, holding(0)), (30, holding(2)), (60, holding(2, 17))],
        [17, 30],
    ),
    "sessions older than the oldest have left": (
        [(0, holding(0)), (60, holding(1, 60)), (600, holding(2, 60)), (900, holding(1, 600))],
        [600],
    ),
    "others came, where there are as many as before": (
        [(0, holding(0)), (60, holding(1, 60)), (600, holding(2, 60)), (900, holding(2, 600))],
        [600, 900],
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
    "an exporter may be wrong by some seconds": (
        [(0, holding(0)), (60, holding(1, 60)), (90, holding(1, 62))],
        [60],
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
    st.tuples(st.integers(0, 12), st.none() | st.integers(0, 2_000), st.integers(0, 900)),
    min_size=1,
    max_size=30,
)


@given(looks)
def test_each_session_of_a_pod_has_a_beginning_that_is_past(
    counts: list[tuple[int, int | None, int]],
) -> None:
    ages, at = None, NOW
    for count, age, pause in counts:
        at += pause
        oldest = None if age is None or not count else at - NOW - age
        ages = follow(ages, [holding(count, oldest)], at)
        found = ages.begins[UID]
        assert len(found) == count
        assert all(begin <= at + 1 for begin in found)
        assert follow(ages, [holding(count, oldest)], at + 60) is ages


def test_what_is_gone_is_forgotten() -> None:
    ages = follow(None, [holding(2), pod("b", sessions=1)], NOW)
    assert follow(ages, [pod("b", sessions=1)], NOW + 2).begins.keys() == {"uid-b"}


def test_a_pod_that_tells_an_absurd_number_costs_no_more_than_a_thousand_sessions() -> None:
    ages = follow(follow(None, [holding(2**62)], NOW), [holding(2**61)], NOW + 60)
    assert len(begins(ages)) == MOST


def lasting(*minutes: float, many: int = 1_000) -> tuple[float, ...]:
    """The lengths of so many sessions of each of these lengths."""
    counts = [0.0] * len(EDGES)
    for each in minutes:
        counts[max(step for step, edge in enumerate(EDGES) if edge <= each * MINUTE)] += many
    return tuple(counts)


def aged(lengths: tuple[float, ...] = (), **minutes: list[float]) -> Ages:
    """Pods whose sessions have lasted for so many minutes."""
    since = {f"uid-{name}": tuple(NOW - MINUTE * m for m in each) for name, each in minutes.items()}
    return Ages(since, NOW, lengths, lengths, NOW, NOW - 2 * DAY)


def test_a_pod_is_empty_once_its_last_session_has_ended() -> None:
    ages = aged(lasting(60), young=[5], old=[50], both=[5, 50], none=[])
    young, old, both, none = (
        time_to_empty(ages, f"uid-{name}") for name in ("young", "old", "both", "none")
    )
    assert none == 0.0
    assert old < 25 * MINUTE < 40 * MINUTE < young < 70 * MINUTE
    assert young <= both < young + MINUTE


def test_of_sessions_that_are_short_or_very_long_an_old_one_stays_longer() -> None:
    ages = aged(lasting(5, 5, 5, 480), young=[1], old=[60])
    assert time_to_empty(ages, "uid-young") < time_to_empty(ages, "uid-old")


def test_a_session_that_has_lasted_longer_than_any_lasts_as_long_again() -> None:
    found = time_to_empty(aged(lasting(5), a=[600]), "uid-a")
    assert found == pytest.approx(600 * MINUTE, rel=0.2)


@given(
    st.lists(st.floats(0, 2_000), max_size=8),
    st.floats(0, 2_000),
    st.lists(st.floats(1, 5_000), min_size=1, max_size=5),
)
def test_one_more_session_never_empties_a_pod_sooner(
    there: list[float], more: float, lengths: list[float]
) -> None:
    ages = aged(lasting(*lengths), a=there, b=[*there, more])
    assert 0.0 <= time_to_empty(ages, "uid-a") <= time_to_empty(ages, "uid-b") * 1.000_001 < inf


def visits(random: Random, days: float, mean: float) -> Iterator[tuple[float, float]]:
    """Arrivals every few minutes with their ends: log-normal lengths, some of them long."""
    at = 0.0
    while at < days * DAY:
        at += random.expovariate(1 / 300)
        yield at, at + mean * random.lognormvariate(-0.5, 1.0)


def test_how_long_sessions_last_is_learned_from_the_counts_of_pods() -> None:
    random = Random(1)
    stays = sorted(visits(random, 3, mean=20 * MINUTE))
    pods = [random.randrange(3) for _ in stays]
    ages = None
    for at in range(0, round(3 * DAY), 15):
        there: list[list[float]] = [[], [], []]
        for (start, end), index in zip(stays, pods, strict=True):
            if start > at:
                break
            if end > at:
                there[index].append(start)
        counted = [
            replace(holding(len(each), min(each, default=None)), uid=f"{index}")
            for index, each in enumerate(there)
        ]
        ages = follow(ages, counted, NOW + at)
        stays, pods = _still_to_come(stays, pods, at)

    assert ages is not None
    truth = [20 * MINUTE * random.lognormvariate(-0.5, 1.0) for _ in range(20_000)]
    for minutes in (10, 30, 60):
        longer = sum(
            count
            for edge, count in zip(EDGES, ages.lengths, strict=True)
            if edge >= minutes * MINUTE
        )
        share = sum(length >= minutes * MINUTE for length in truth) / len(truth)
        assert longer / sum(ages.lengths) == pytest.approx(share, abs=0.08)


def _still_to_come(
    stays: list[tuple[float, float]], pods: list[int], at: float
) -> tuple[list[tuple[float, float]], list[int]]:
    left = [index for index, (_, end) in enumerate(stays) if end > at]
    return [stays[index] for index in left], [pods[index] for index in left]


def test_nothing_is_known_on_the_first_day_or_of_a_few_sessions() -> None:
    def after(days: float, sessions: int) -> Ages:
        ages = follow(None, [holding(0)], NOW)
        for number in range(sessions):
            at = NOW + days * DAY * number / sessions
            ages = follow(follow(ages, [holding(1)], at), [holding(0)], at + 60)
        return follow(ages, [holding(1)], NOW + days * DAY + HOUR)

    assert after(0.5, 200).lengths == ()
    assert after(2 * KNOWN_AFTER / DAY, int(ENOUGH) - 10).lengths == ()
    assert after(2 * KNOWN_AFTER / DAY, int(ENOUGH) + 10).lengths != ()


def test_a_step_of_the_clock_moves_all_times_and_no_length() -> None:
    ages = aged(lasting(60), a=[5, 50])
    expected = time_to_empty(ages, "uid-a")
    assert time_to_empty(ages.shifted(-HOUR), "uid-a") == pytest.approx(expected)
    state = State(ages=ages).shifted(HOUR)
    assert state.ages == ages.shifted(HOUR)


RESERVE = Cordon(Cause.RESERVE, NOW - 60)


def reserve(name: str, sessions: int) -> PodState:
    return serving(name, sessions, routable=False, cordon=RESERVE)


def planned(ages: Ages, *pods: PodState, wanted: int, landing: Landing | None) -> dict[str, str]:
    rules = policy()
    assert rules.drain is not None
    state = State(sightings=sightings(*pods), ages=ages)
    bounds, seen = Bounds(1, 20), observation(pods=pods)
    plan = plan_drain(rules, rules.drain, seen, wanted, wanted, bounds, state, Now(NOW), landing)
    return told(plan)


HOURLY = lasting(60)
FEW, ALL = Landing(4, 1), Landing(100, 1)
PLANS: dict[str, tuple[Ages, list[PodState], int, Landing, dict[str, str]]] = {
    "drained is the pod that will be empty first, not the one with the fewest sessions": (
        aged(HOURLY, a=[50, 52, 54], b=[2, 3], c=[1] * 6),
        [serving("a", 3), serving("b", 2), serving("c", 6)],
        2,
        ALL,
        {"a": "cordon scale-down"},
    ),
    "as long as nobody knows how long sessions last, the one with the fewest": (
        aged((), a=[50, 52, 54], b=[2, 3], c=[1] * 6),
        [serving("a", 3), serving("b", 2), serving("c", 6)],
        2,
        ALL,
        {"b": "cordon scale-down"},
    ),
    "of equally full pods that goes to the reserve which will be empty first": (
        aged(HOURLY, a=[2, 3], b=[50, 52], c=[1] * 6),
        [serving("a", 2), serving("b", 2), serving("c", 6)],
        3,
        Landing(8, 1),
        {"b": "cordon reserve"},
    ),
    "of equally full pods that is opened which will be empty last": (
        aged(HOURLY, a=[50, 52], b=[2, 3], c=[1] * 9),
        [reserve("a", 2), reserve("b", 2), serving("c", 9)],
        3,
        FEW,
        {"b": "uncordon"},
    ),
    "when load returns, that serves again which would be empty last": (
        aged(HOURLY, a=[50, 52, 54], b=[2, 3], c=[1] * 6),
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
    assert planned(ages, *pods, wanted=wanted, landing=landing) == expected


def test_decisions_follow_the_sessions_of_the_pods() -> None:
    _, first = decide(policy(), observation(1, 2), None, NOW)
    _, second = decide(policy(), observation(1, 3), first, NOW + 20)
    assert begins(second.ages, "uid-pod-1") == [0, 0, 20]


def test_without_drains_nobody_asks_how_old_sessions_are() -> None:
    _, state = decide(policy(drain="none"), observation(1, 2), None, NOW)
    assert state.ages is None
