"""What ended with a removed pod is what its launcher or sidecar said last, once the pod is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.core.checkpoint import from_text, to_text
from autoscaler.core.drain import departures
from autoscaler.model import Departing, Occupancy, PodState, Reason, Removal, State
from tests.builders import NOW, observation, pod

EMPTY, THREE = Occupancy(0, empty_for=90.0), Occupancy(3)
KEY = ("dashboards", "uid-1")


def removed(one: PodState) -> State:
    """The state after a scale-down that is to remove this pod."""
    state = State()._replace(removal=Removal({one.uid: 0}, {}, NOW))
    return departures.begin(state, [one], NOW)


def deleting(one: PodState) -> PodState:
    return replace(one, deleting=True)


@pytest.mark.parametrize(
    ("last_seen", "told", "cut"),
    [
        pytest.param(EMPTY, [], 0, id="it was empty and said no more"),
        pytest.param(EMPTY, [0, 0], 0, id="it stayed empty"),
        pytest.param(EMPTY, [1], 1, id="a session came in the last moment"),
        pytest.param(EMPTY, [2, 1, 0], 0, id="those who came left while the launcher waited"),
        pytest.param(THREE, [3, 2], 2, id="its deadline ended two, and one had left by then"),
        pytest.param(THREE, [], 3, id="its deadline ended it at once"),
        pytest.param(None, [], 0, id="it never said anything, nor was it scraped"),
    ],
)
def test_the_last_word_counts(last_seen: Occupancy | None, told: list[int], cut: int) -> None:
    one = pod("going", occupancy=last_seen)
    state = removed(one)
    for count in told:
        seen = observation(pods=(deleting(one),), farewells={one.uid: count})
        ended, state = departures.follow(state, seen)
        assert ended == ()

    ended, state = departures.follow(state, observation(pods=()))

    assert [each.sessions for each in ended] == [cut]
    assert state.departing == {}


def test_a_pod_that_is_gone_is_counted_once() -> None:
    one = pod("going", occupancy=THREE)
    ended, state = departures.follow(removed(one), observation(pods=()))

    assert departures.follow(state, observation(pods=())) == ((), state)
    assert len(ended) == 1


def test_a_word_that_comes_with_the_end_of_the_pod_counts() -> None:
    one = pod("going", occupancy=EMPTY)
    seen = observation(pods=(), farewells={one.uid: 1})

    [ended], _ = departures.follow(removed(one), seen)

    assert ended == Departing("going", 1, NOW, Reason.DRAINED)


def test_a_pod_that_the_replica_set_has_not_deleted_yet_is_waited_for() -> None:
    one = pod("going", occupancy=EMPTY)

    ended, state = departures.follow(removed(one), observation(pods=(one,)))

    assert (ended, list(state.departing)) == ((), [one.uid])


def test_a_pod_that_stays_after_all_is_not_followed_until_somebody_else_deletes_it() -> None:
    one = pod("stays", occupancy=EMPTY)
    state = removed(one)._replace(removal=None)

    _, state = departures.follow(state, observation(pods=(one,)))

    assert state.departing == {}


def test_a_pod_that_went_unchosen_counts_with_the_sessions_that_it_had() -> None:
    gone, dying, stays = pod("gone"), pod("dying"), pod("stays")
    expected = Removal({"victim": 0}, {gone.uid: 4, dying.uid: 2, stays.uid: 9}, NOW)
    seen = observation(pods=(deleting(dying), stays))

    state = departures.begin_unchosen(State(), expected, seen, NOW)
    ended, state = departures.follow(state, seen)

    assert [(each.sessions, each.why) for each in ended] == [(4, Reason.VICTIM_MISMATCH)]
    assert [each.name for each in state.departing.values()] == ["dying"]


@pytest.mark.parametrize(
    ("one", "why"),
    [
        pytest.param(pod(occupancy=EMPTY), Reason.DRAINED, id="it was empty"),
        pytest.param(pod(occupancy=THREE), Reason.DRAIN_DEADLINE_EXCEEDED, id="users were there"),
        pytest.param(pod(), Reason.DRAIN_DEADLINE_EXCEEDED, id="its sidecar said nothing"),
        pytest.param(pod(phase="Pending", ready=None), Reason.DRAINED, id="it never served"),
    ],
)
def test_why_a_pod_was_removed_is_known_when_it_is_gone(one: PodState, why: Reason) -> None:
    assert [each.why for each in removed(one).departing.values()] == [why]


def test_the_next_daemon_goes_on_counting() -> None:
    one = pod("going", occupancy=THREE)
    text = to_text({KEY: removed(one)}, NOW)

    state = from_text(text, NOW + 5)[KEY]
    [ended], _ = departures.follow(state, observation(pods=()))

    assert ended == Departing("going", 3, NOW, Reason.DRAIN_DEADLINE_EXCEEDED)


def test_a_reason_of_a_newer_daemon_and_a_time_to_come_are_read_all_the_same() -> None:
    text = f'{{"dashboards/uid-1":{{"departing":{{"u":["p",1,{NOW + 900},"SomethingNew"]}}}}}}'

    assert from_text(text, NOW)[KEY].departing == {"u": Departing("p", 1, NOW)}


def test_a_clock_that_is_set_moves_it_along() -> None:
    state = removed(pod("going", occupancy=EMPTY)).shifted(60.0)

    assert [each.at for each in state.departing.values()] == [NOW + 60.0]
