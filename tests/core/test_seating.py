"""How many sessions a pod can hold, by what its sessions have cost, and how slowly seats follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core import seating
from autoscaler.core.now import Now
from autoscaler.core.seating import PACE, RISE, described, estimate, follow
from autoscaler.model import PodLoad, SeatEstimate, Seats
from autoscaler.policy.metrics import LearnedSeats

STEP, DAY = 300, 288
MB = 1_000_000.0
LEARN = LearnedSeats(first=10, min=5, max=40)
Cost = Callable[[float], float]


def pod(
    sessions: Sequence[float],
    busy: Cost | None = None,
    memory: Cost | None = None,
    limit: float | None = 1000 * MB,
    lag: Cost | None = None,
) -> list[PodLoad]:
    """The loads of a pod that had these sessions, one step after the other."""
    return [
        PodLoad(
            STEP * index,
            count,
            busy and min(1.0, busy(count)),
            memory and memory(count),
            limit if memory else None,
            lag and lag(count),
        )
        for index, count in enumerate(sessions)
    ]


def line(base: float, each: float) -> Cost:
    return lambda sessions: base + each * sessions


FILLS = [index // 12 for index in range(10 * 12)]
OFFICE = [*FILLS, *reversed(FILLS)]


@pytest.mark.parametrize(
    ("loads", "seats", "why"),
    [
        pytest.param(
            pod(OFFICE, busy=line(0.0, 0.05)), 14, "event loop", id="the loop, 5 % a session"
        ),
        pytest.param(
            pod(OFFICE, busy=line(0.2, 0.05)), 10, "event loop", id="a loop that works for itself"
        ),
        pytest.param(
            pod(OFFICE, line(0.0, 0.05), line(200 * MB, 100 * MB)),
            6,
            "memory",
            id="memory, if it is less",
        ),
        pytest.param(
            pod([9.0] * 48, memory=line(300 * MB, 20 * MB)),
            15,
            "memory",
            id="a pod whose memory without sessions was never seen: all of it counts as theirs",
        ),
        pytest.param(
            pod([12.0] * 48, busy=line(0.0, 0.05)), 14, "event loop", id="pods alike all the time"
        ),
        pytest.param(
            pod(OFFICE, line(0.0, 0.02), lag=lambda n: 3.0 if n > 6 else 0.1),
            6,
            "timers",
            id="timers that are late, whatever the loop says",
        ),
    ],
)
def test_the_first_limit_that_is_reached_decides(
    loads: list[PodLoad], seats: int, why: str
) -> None:
    found = estimate({"a": loads}, STEP)
    assert found.seats == seats
    assert why in found.why


@pytest.mark.parametrize(
    "pods",
    [
        {},
        {"a": []},
        {"a": pod([0.0] * DAY, busy=line(0.1, 0.0))},
        {"a": pod([1.0] * 24, busy=line(0.0, 0.05))},
        {"a": pod([20.0] * 11, busy=line(0.0, 0.03))},
        {"a": pod([10.0] * DAY)},
        {"a": pod([10.0] * DAY, memory=line(0.0, MB), limit=None)},
    ],
    ids=[
        "no pod",
        "a pod that just began",
        "nobody came",
        "two hours of one user",
        "an hour of many",
        "an exporter that tells sessions alone",
        "memory without a limit, and no loop",
    ],
)
def test_nothing_is_learned_from(pods: dict[str, list[PodLoad]]) -> None:
    assert estimate(pods, STEP).seats is None


@pytest.mark.parametrize(
    ("true", "seats"), [(100.0, 100), (20.4, 20), (4.92, 5), (13.6, 13)], ids=str
)
def test_full_seats_exceed_the_limit_by_less_than_it_is_measured(true: float, seats: int) -> None:
    found = estimate({"a": pod(OFFICE, busy=line(0.0, 0.7 / true))}, STEP)
    assert found.seats == seats


def test_sessions_that_cost_nothing_limit_nothing_and_no_limit_is_told() -> None:
    found = estimate({"a": pod(OFFICE, line(0.0, 0.0), line(100 * MB, 0.0))}, STEP)
    assert not seating.is_limited(found)
    assert described(found) == (
        "sessions cost the event loop and memory too little to tell how many a pod can hold"
    )
    assert after(20, found._replace(most=100.0)) == 22


def test_late_timers_of_an_hour_in_which_the_node_was_starved_do_not_decide() -> None:
    starved = [
        load._replace(lag=9.0) if 12 <= i < 24 else load
        for i, load in enumerate(pod(OFFICE, line(0.0, 0.05), lag=lambda _: 0.01))
    ]
    assert starved[12].sessions == 1
    assert estimate({"a": starved}, STEP).seats == 14


def test_a_memory_limit_that_was_raised_counts_from_then_on() -> None:
    cost = line(200 * MB, 50 * MB)
    old = pod(OFFICE, memory=cost, limit=600 * MB)
    new = [load._replace(at=load.at + DAY * STEP) for load in pod(OFFICE, memory=cost)]
    assert estimate({"a": old}, STEP).seats == 5
    assert estimate({"a": old, "b": new}, STEP).seats == 12


def test_memory_that_earlier_sessions_left_behind_is_not_that_of_the_few_who_stay() -> None:
    kept = 200 * MB + 9 * 50 * MB
    day = [*pod(FILLS, memory=line(200 * MB, 50 * MB)), *pod([1.0] * DAY, memory=lambda _: kept)]
    loads = [each._replace(at=STEP * index) for index, each in enumerate(day)]
    assert estimate({"a": loads}, STEP).seats == 12


def test_unused_pages_at_night_do_not_raise_the_seats() -> None:
    night = [load._replace(at=load.at + DAY * STEP) for load in pod([9.0] * DAY, line(0.0, 0.002))]
    loads = [*pod(OFFICE, busy=line(0.0, 0.05)), *night]
    assert estimate({"a": loads}, STEP).seats == 14


def test_an_hour_of_one_greedy_user_in_a_week_does_not_lower_them() -> None:
    week = pod(OFFICE * 8, busy=line(0.0, 0.05))
    greedy = [load._replace(busy=1.0) if 100 <= i < 112 else load for i, load in enumerate(week)]
    assert estimate({"a": greedy}, STEP).seats == 14


def test_a_pod_that_is_busier_than_the_others_counts_with_them() -> None:
    pods = {"a": pod(OFFICE, line(0.0, 0.04)), "b": pod(OFFICE, line(0.0, 0.06))}
    assert estimate(pods, STEP).seats == 14


@given(
    each=st.floats(0.004, 0.3),
    base=st.floats(0.0, 0.3),
    share=st.floats(0.3, 1.0),
    noise=st.lists(st.floats(-0.05, 0.05), min_size=DAY, max_size=DAY),
)
def test_a_straight_cost_is_found_within_a_fifth(
    each: float, base: float, share: float, noise: list[float]
) -> None:
    true = (0.7 - base) / each
    if true < 5:
        return
    sessions = [round(share * true * (index % 72) / 71) for index in range(DAY)]
    loads = [
        load._replace(busy=max(0.0, (load.busy or 0.0) * (1 + more)))
        for load, more in zip(pod(sessions, line(base, each)), noise, strict=True)
    ]
    found = estimate({"a": loads}, STEP)
    assert found.seats is not None
    assert 0.8 * true - 1 <= found.seats <= 1.2 * true + 1


@given(
    st.lists(
        st.builds(
            PodLoad,
            at=st.floats(0, 1e9),
            sessions=st.floats(0, 1e6),
            busy=st.none() | st.floats(0, 1),
            memory=st.none() | st.floats(0, 1e15),
            limit=st.none() | st.floats(0, 1e15),
            lag=st.none() | st.floats(0, 1e6),
        ),
        max_size=60,
    )
)
def test_whatever_pods_tell_there_is_at_least_one_seat_or_none_is_known(
    loads: list[PodLoad],
) -> None:
    found = estimate({"a": sorted(loads, key=lambda load: load.at)}, STEP)
    assert found.seats is None or found.seats >= 1
    assert described(found)


def test_pods_of_another_image_do_not_count() -> None:
    pods = {f"app-{each}-abcde": pod(OFFICE) for each in ("old", "same", "new")}
    assert set(seating.of_image(pods, {"app-new", "app-same"})) == {
        "app-new-abcde",
        "app-same-abcde",
    }


def test_without_a_cluster_the_pods_of_the_youngest_replica_set_count() -> None:
    old, new = pod(OFFICE), [load._replace(at=load.at + 900) for load in pod(OFFICE)]
    pods = {"app-old-aaaaa": old, "app-new-bbbbb": new, "app-new-ccccc": new}
    assert set(seating.of_image(pods)) == {"app-new-bbbbb", "app-new-ccccc"}


def known(seats: int | None, most: float = 100.0) -> SeatEstimate:
    return SeatEstimate(seats, "the event loop is busy", most=most)


def after(seats: int, found: SeatEstimate | None, seated: int | None = 0, **more: float) -> int:
    """The seats that follow on others, a long time after those were set."""
    age = more.get("age", RISE)
    return follow(Seats(seats, 0.0), LEARN, found, seated, Now(age)).number


def test_a_policy_begins_with_its_first_guess() -> None:
    assert follow(None, LEARN, known(30), 0, Now(7.0)) == Seats(10, 7.0)


@pytest.mark.parametrize(
    ("seats", "expected"),
    [
        pytest.param(after(20, known(30)), 22, id="a tenth more at a time"),
        pytest.param(after(20, known(10)), 18, id="a tenth less at a time"),
        pytest.param(after(5, known(9)), 6, id="one more of few"),
        pytest.param(after(20, known(10), age=PACE), 18, id="less after ten minutes"),
        pytest.param(after(20, known(10), age=PACE - 1), 20, id="but not before"),
        pytest.param(after(20, known(30), age=RISE - 1), 20, id="more not before an hour"),
        pytest.param(after(20, known(21)), 20, id="none for a difference of a twentieth"),
        pytest.param(after(20, known(None)), 20, id="none while too little is known"),
        pytest.param(after(20, None), 20, id="none before a history was read"),
        pytest.param(after(40, known(90)), 40, id="none above the maximum"),
        pytest.param(after(5, known(1)), 5, id="none below the minimum"),
        pytest.param(after(20, known(10), seated=20), 20, id="none below what is seated"),
        pytest.param(after(20, known(10), seated=19), 19, id="down to what is seated"),
        pytest.param(after(20, known(10), seated=25), 20, id="never up to what is seated"),
        pytest.param(after(20, known(10), seated=None), 20, id="none less in doubt"),
        pytest.param(after(20, known(30), seated=None), 22, id="but more in doubt"),
        pytest.param(after(20, known(90, most=4)), 20, id="none beyond twice what was seen"),
        pytest.param(after(20, known(90, most=11.2)), 22, id="up to twice what was seen"),
        pytest.param(after(50, known(50)), 40, id="a lower maximum applies at once"),
    ],
)
def test_seats_move_slowly(seats: int, expected: int) -> None:
    assert seats == expected


@given(
    start=st.integers(1, 200),
    goals=st.lists(st.none() | st.integers(1, 200), max_size=30),
    seated=st.lists(st.none() | st.integers(0, 60), max_size=30),
)
def test_seats_stay_between_the_bounds_and_above_what_is_seated(
    start: int, goals: list[int | None], seated: list[int | None]
) -> None:
    seats, at = Seats(start, 0.0), 0.0
    for goal, here in zip(goals, seated, strict=False):
        at += RISE
        now = follow(seats, LEARN, known(goal), here, Now(at))
        assert LEARN.min <= now.number <= LEARN.max
        if seats.number <= LEARN.max:
            assert now.number >= min(seats.number, inf if here is None else here)
        seats = now
