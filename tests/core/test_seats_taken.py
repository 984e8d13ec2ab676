"""Sessions that take another number of seats than 1, by what their app says of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.control.observation import build_observation
from autoscaler.core import sessions
from autoscaler.core.decide import decide
from autoscaler.core.drain.packing import Landing
from autoscaler.core.drain.pods import has_room, is_empty, is_full, sessions_of, users
from autoscaler.core.now import Now
from autoscaler.core.sessions import Seating
from autoscaler.model import Average, Observation, PodState, Sample, State, Traffic
from autoscaler.ports import Readings, TargetState
from autoscaler.reporting.events import mark_messages
from autoscaler.reporting.explanation import spare_seats
from tests.builders import NOW, observation, pod, policy
from tests.core.drains import BUSY, serving
from tests.core.test_packing import planned, reserve

SETTLED = State(seen_at=NOW - 5)


def taking(seats: int, count: int = 1, name: str = "pod-0", **more: Any) -> PodState:
    """A pod whose sessions take so many seats."""
    return pod(name, sessions=count, seats=Sample(seats, NOW), **more)


def replicas(*pods: PodState, **rules: Any) -> int:
    decision, _ = decide(policy(**rules), observation(pods=pods), SETTLED, NOW)
    return decision.desired


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param([pod(sessions=9)], 1, id="without a hint a session takes one seat"),
        pytest.param([taking(11, 9)], 2, id="costs that exceed the seats add a pod"),
        pytest.param([taking(25, 1)], 3, id="one session may need more pods than one"),
        pytest.param([taking(5, 11)], 1, id="sessions that take half a seat"),
        pytest.param(
            [taking(10, 2, "a"), pod("b", sessions=1)], 2, id="pods with and without hints add up"
        ),
        pytest.param([taking(10**18)], 20, id="no cost exceeds replicas.max"),
    ],
)
def test_replicas_are_computed_from_the_seats_that_sessions_take(
    pods: list[PodState], expected: int
) -> None:
    assert replicas(*pods) == expected


def test_the_decision_says_that_it_counted_seats() -> None:
    def detail(*pods: PodState) -> Any:
        return decide(policy(), observation(pods=pods), SETTLED, NOW)[0]

    plain, hinted = detail(pod(sessions=9)), detail(taking(14, 9))
    assert "(9 connected + 0 spare) / 10 seats" in plain.recommendations[0].detail
    assert "(14 seats taken + 0 spare) / 10 seats" in hinted.recommendations[0].detail
    assert spare_seats(hinted) == 0


@pytest.mark.parametrize(
    ("each", "full", "room"),
    [
        pytest.param(pod(sessions=9), False, True, id="one session a seat"),
        pytest.param(taking(10, 2), True, False, id="two sessions that take all seats"),
        pytest.param(taking(9, 30), False, True, id="many small ones that leave a seat"),
        pytest.param(pod(seats=Sample(2, NOW)), False, False, id="seats of an unknown number"),
    ],
)
def test_a_pod_is_full_by_the_seats_that_are_taken(each: PodState, full: bool, room: bool) -> None:
    assert is_full(each, policy()) is full
    assert has_room(each, policy()) is room


def test_free_seats_are_those_that_no_session_takes() -> None:
    pods = (taking(7, 2, "a"), taking(25, 1, "b"), pod("c", sessions=4))
    assert sessions.seating(pods, seats=10) == Seating(capacity=30, free=3 + 0 + 6)


def test_a_pod_of_the_reserve_is_opened_by_its_free_seats() -> None:
    few = Landing(4, 1, may_close=True)
    there = [serving("a", 1, seats=Sample(9, NOW)), reserve("b", 2, seats=Sample(10, NOW))]
    assert planned(*there, reserve("c", 1), landing=few) == {"c": "uncordon"}


REFUSE = {"metrics": [{"type": "sessions", "seats": 10, "spare": {"refuse": "1%"}}]}


@pytest.mark.parametrize(
    ("cost", "times"), [(1.0, 1.0), (2.5, 2.5), (0.5, 1.0)], ids=["one", "more", "less"]
)
def test_seats_for_newcomers_are_as_many_as_they_will_take(cost: float, times: float) -> None:
    metric = policy(**REFUSE).sessions
    assert metric is not None
    traffic = Traffic(NOW, Average(0.5, 0.5, NOW), Average(0.5, 0.5, NOW), known=True)
    count = sessions.connected((taking(round(10 * cost), 10),), 10, Now(NOW), 30.0)
    assert count.cost == times
    plain = sessions.spare_seats(metric, 10, traffic, 60.0, 10.0, Now(NOW))
    hinted = sessions.spare_seats(metric, 10, traffic, 60.0, 10.0, Now(NOW), count.cost)
    assert hinted == -(-plain * times // 1)
    landing = sessions.landing_seats(metric, 10, traffic, 10.0, Now(NOW), count.cost)
    assert landing >= sessions.landing_seats(metric, 10, traffic, 10.0, Now(NOW))


def test_what_a_drain_waits_for_are_sessions_and_not_seats() -> None:
    leaving = taking(1, 2, routable=False, occupancy=BUSY)
    assert (users(leaving), sessions_of(leaving)) == (3, 3)
    drain = policy().drain
    assert drain is not None
    assert not is_empty(leaving, drain, Now(NOW))


def test_an_event_tells_how_many_seats_the_sessions_take() -> None:
    rules = policy()
    note = decide(rules, observation(pods=(taking(12, 3, "a"), pod("b", sessions=1))), SETTLED, NOW)
    marks = note[0].drain.marks if note[0].drain else ()
    texts = [each.text for who, mark in marks for each in mark_messages(who, mark, rules)]
    assert [text for text in texts if "3 sessions that take 12 seats, 10 seats" in text]


def seen(**samples: Sample) -> Observation:
    one = pod("a")
    rules = policy()
    told: Any = {(name, "exporter"): {("bokeh", "a"): each} for name, each in samples.items()}
    readings = Readings(told)
    return build_observation(rules, TargetState(rules.target.ref, "u", "1", 1, 1, (one,)), readings)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        pytest.param({"sessions": Sample(4, NOW)}, None, id="an older exporter"),
        pytest.param(
            {"sessions": Sample(4, NOW), "seats": Sample(4, NOW)}, None, id="the same number"
        ),
        pytest.param({"sessions": Sample(4, NOW), "seats": Sample(9, NOW)}, 9, id="another number"),
        pytest.param({"seats": Sample(9, NOW)}, None, id="without a count of sessions"),
    ],
)
def test_seats_are_observed_where_they_are_another_number_than_the_sessions(
    samples: dict[str, Sample], expected: int | None
) -> None:
    [found] = seen(**samples).pods
    assert (found.seats and found.seats.value) == expected


fleets = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10**19)), min_size=1, max_size=6)


@given(fleets, st.integers(1, 6))
def test_whatever_an_app_claims_the_replicas_stay_within_the_bounds(
    fleet: list[tuple[int, int]], least: int
) -> None:
    pods = [taking(seats, count, f"pod-{n}") for n, (count, seats) in enumerate(fleet)]
    assert least <= replicas(*pods, replicas={"min": least, "max": 20}) <= 20


@given(fleets)
def test_a_cost_of_one_seat_each_changes_no_decision(fleet: list[tuple[int, int]]) -> None:
    bare = tuple(pod(f"pod-{n}", sessions=count) for n, (count, _) in enumerate(fleet))
    same = tuple(replace(each, seats=each.sessions) for each in bare)
    decisions = [decide(policy(), observation(pods=each), SETTLED, NOW)[0] for each in (bare, same)]
    assert decisions[0].desired == decisions[1].desired


@given(fleets, st.integers(0, 5), st.integers(1, 50))
def test_a_session_that_takes_more_seats_never_lowers_what_is_asked_for(
    fleet: list[tuple[int, int]], index: int, more: int
) -> None:
    pods = [taking(seats % 100, count, f"pod-{n}") for n, (count, seats) in enumerate(fleet)]
    raised = [*pods]
    one = raised[index % len(pods)]
    assert one.seats is not None
    raised[index % len(pods)] = replace(one, seats=Sample(one.seats.value + more, NOW))
    before, after = (
        sessions.connected(tuple(each), 10, Now(NOW), 30.0).sessions for each in (pods, raised)
    )
    assert after == before + more
