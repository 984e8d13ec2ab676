"""The sticky bound that the daemon follows: by hand, and as laws for whatever it sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.sticky_bound import MOST, Packed, count_pods, count_sessions, follow
from autoscaler.model import PodState, Sample
from tests.builders import NOW, pod, pods

TICK = 15.0
# Sessions of each pod, or with it when the oldest began.
Seen = Sequence[int | tuple[int, int] | None]


def told(seen: Seen) -> tuple[PodState, ...]:
    return tuple(
        pod(f"pod-{number}", sessions=each[0], oldest_session=Sample(each[1], NOW))
        if isinstance(each, tuple)
        else pod(f"pod-{number}", sessions=each)
        for number, each in enumerate(seen)
    )


def through(*phases: Seen, seats: int = 2) -> Packed:
    """Return where the sessions are after these passes."""
    packed: Packed | None = None
    for number, seen in enumerate(phases):
        packed = follow(packed, told(seen), seats, NOW + number * TICK)
    assert packed is not None
    return packed


@pytest.mark.parametrize("sessions", [MOST + 1, 10**9], ids=["one too many", "a wrong count"])
def test_nobody_follows_more_sessions_than_a_pass_has_time_for(sessions: int) -> None:
    assert follow(None, told([sessions]), 10, NOW) is None


def test_up_to_this_number_all_are_followed() -> None:
    assert count_pods(through([MOST - 1, 1], seats=10)) == MOST / 10


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        pytest.param([[0, 0]], 0, id="no session needs no pod"),
        pytest.param([[1, 1, 1, 0]], 2, id="sessions on three pods fit on two"),
        pytest.param([[5]], 3, id="a real pod may have more sessions than seats"),
        pytest.param([[2, 2], [0, 2]], 1, id="a pod that is empty ends"),
        pytest.param([[2, 2], [2]], 1, id="the sessions of a pod that is gone have ended"),
        pytest.param([[2, 2], [None, 2]], 2, id="those of a pod without data are where they were"),
        pytest.param(
            [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 1, 0]],
            2,
            id="a session that stays keeps its pod, although it would fit into another",
        ),
        pytest.param(
            [[1, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1, 1]],
            2,
            id="a new one takes the seat that is free",
        ),
    ],
)
def test_the_bound_has_the_pods_that_it_comes_to_by_hand(
    phases: Sequence[Seen], expected: int
) -> None:
    assert count_pods(through(*phases)) == expected


def test_a_new_session_takes_the_fullest_pod_with_a_free_seat() -> None:
    apart = [1, 1, 1, 1, 1, 1], [1, 0, 0, 1, 1, 0]  # leaves one session on one pod, two on another
    packed = through(*apart, [1, 0, 0, 1, 1, 0, 1], seats=3)

    assert Counter(chain.from_iterable(placed.pods for placed in packed.values())) == {0: 1, 1: 3}


@pytest.mark.parametrize("passes", range(1, 20))
def test_the_oldest_session_of_a_pod_is_still_there_while_its_exporter_says_so(passes: int) -> None:
    packed = through(*[[(5, 1_000)]] * passes, [(1, 1_000)], seats=1)

    assert packed["uid-pod-0"].pods == (0,)


def test_if_another_session_is_the_oldest_the_first_one_has_ended() -> None:
    same = through([(3, 1_000)], [(3, 1_000)])["uid-pod-0"].pods
    exchanged = through([(3, 1_000)], [(3, 1_050)])["uid-pod-0"].pods

    assert same == (0, 0, 1)
    assert exchanged == (0, 1, 0), "another one came, and has the seat of the first"
    assert through([(3, 1_000)], [(2, 1_050)])["uid-pod-0"].pods == (0, 1)


def test_a_beginning_that_is_rounded_otherwise_is_the_same() -> None:
    assert through([(3, 1_000)], [(3, 1_010)])["uid-pod-0"].pods == (0, 0, 1)


def test_sessions_of_a_pod_that_has_ended_are_gone() -> None:
    packed = follow(through([2, 2]), pods(2, 2, phase="Failed"), 2, NOW)

    assert count_sessions(packed) == 0


ticks = st.lists(
    st.lists(
        st.none() | st.integers(0, 6) | st.tuples(st.integers(0, 6), st.integers(0, 99)),
        max_size=5,
    ),
    min_size=1,
    max_size=20,
)


@given(ticks, st.integers(1, 4))
def test_the_bound_has_every_session_once_and_no_pod_has_more_than_its_seats(
    phases: list[list[int | tuple[int, int] | None]], seats: int
) -> None:
    packed: Packed = {}
    known: dict[str, int] = {}
    for number, seen in enumerate(phases):
        packed = follow(packed, told(seen), seats, NOW + number * TICK)
        known = {
            each.uid: known.get(each.uid, 0) if each.sessions is None else each.sessions.value
            for each in told(seen)
        }
        assert {uid: len(placed.pods) for uid, placed in packed.items()} == known
        taken = Counter(chain.from_iterable(placed.pods for placed in packed.values()))
        assert all(sessions <= seats for sessions in taken.values())
        sessions = count_sessions(packed)
        assert ceil(sessions / seats) <= count_pods(packed) <= sessions


@given(ticks, st.integers(1, 4))
def test_a_pass_that_sees_the_same_changes_nothing(
    phases: list[list[int | tuple[int, int] | None]], seats: int
) -> None:
    packed = through(*phases, seats=seats)

    assert follow(packed, told(phases[-1]), seats, NOW + 1e6) == packed
