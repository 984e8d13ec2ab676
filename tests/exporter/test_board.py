"""What forked workers know of each other, and whom they give a request to."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from exporter.agent import board, giving
from exporter.agent.addressee import Asked
from exporter.agent.board import BUCKET, Board, Seat, key_of

PORT = 5006
NEW = Asked("/app", "", websocket=False)


@pytest.fixture
def seats(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Seat]]:
    """Four workers whose loops have just run. No time passes but by `stand_still`."""
    now = time.monotonic()
    monkeypatch.setattr(board, "time", SimpleNamespace(monotonic=lambda: now))
    rows = Board(4)
    found = [Seat(rows, slot) for slot in range(4)]
    for seat in found:
        seat.serve([PORT])
        seat.beat()
    yield found
    for seat in found:
        seat.board.put(seat.slot, board.PROCESS, 0)


def owners(seats: list[Seat], key: int) -> list[tuple[int, bool]]:
    return list(seats[0].board.holders(key))


def stand_still(seat: Seat, seconds: float) -> None:
    for cell in (board.BEAT, board.CREATES_UNTIL):
        seat.board.put(seat.slot, cell, seat.board.get(seat.slot, cell) - int(seconds * 1e3))


def slot_of(mine: Seat, port: int, found: Asked) -> int | None:
    """Who answers, if that is not this worker."""
    choice = giving.choose(mine, port, found)
    return choice.slot if choice is not None else None


def answering(seats: list[Seat], found: Asked) -> set[int]:
    """Who answers what reaches each worker but the third one."""
    asked = [seat for seat in seats if seat.slot != 2]
    slots = [(seat.slot, slot_of(seat, PORT, found)) for seat in asked]
    return {mine if slot is None else slot for mine, slot in slots}


def page_of(session_id: str) -> Asked:
    return Asked("/app", session_id, websocket=False)


def socket_of(session_id: str) -> Asked:
    return Asked("/app", session_id, websocket=True)


def test_a_session_is_known_to_all_workers_from_its_creation_to_its_end(seats: list[Seat]) -> None:
    key = key_of("/app", "one")
    assert owners(seats, key) == []
    seats[2].add(key)
    assert owners(seats, key) == [(2, False)]
    seats[2].connect(key)
    assert owners(seats, key) == [(2, True)]
    seats[2].remove(key)
    assert owners(seats, key) == []


def test_two_applications_may_be_asked_for_the_same_id(seats: list[Seat]) -> None:
    seats[1].add(key_of("/one", "same"))
    assert owners(seats, key_of("/other", "same")) == []


def test_thousands_of_sessions_are_found_and_their_places_used_again(seats: list[Seat]) -> None:
    for turn in range(3):
        keys = [key_of("/app", f"{turn} {number}") for number in range(5000)]
        for key in keys:
            seats[0].add(key)
        assert all(owners(seats, key) == [(0, False)] for key in keys)
        for key in keys:
            seats[0].remove(key)
    assert seats[0].board.load(0) == 0


def test_a_session_without_a_place_is_counted_and_its_end_takes_no_other_one_with_it(
    seats: list[Seat],
) -> None:
    keys = [(number * board.BUCKETS << 2) | 2 for number in range(1, BUCKET + 2)]
    for key in keys:
        seats[0].add(key)
    assert owners(seats, keys[-1]) == []
    assert keys[-1] in seats[0]
    assert seats[0].board.load(0) == BUCKET + 1
    seats[0].remove(keys[-1])
    assert [owners(seats, key) for key in keys[:-1]] == [[(0, False)]] * BUCKET


def test_a_restarted_worker_has_none_of_the_sessions_of_the_one_before(seats: list[Seat]) -> None:
    key = key_of("/app", "lost")
    seats[3].add(key)
    seats[0].give(3, +1)
    again = Seat(seats[3].board, 3)
    assert owners(seats, key) == []
    assert again.board.load(3) == 0
    assert again.board.get(3, board.PROCESS) == os.getpid()


def test_what_is_on_its_way_is_load_and_what_was_lost_on_it_is_forgotten(seats: list[Seat]) -> None:
    rows = seats[0].board
    seats[0].give(1, +1)
    seats[2].give(1, +1)
    assert rows.load(1) == 2
    seats[1].take()
    assert rows.coming(1) == 1
    for _ in range(3):
        seats[1].beat()
    assert rows.coming(1) == 0
    seats[2].give(1, -1)  # a worker that ended before it was given anything
    for _ in range(3):
        seats[1].beat()
    seats[0].give(1, +1)
    assert rows.coming(1) == 1


def test_a_new_page_goes_to_the_worker_with_the_fewest_sessions(seats: list[Seat]) -> None:
    assert slot_of(seats[0], PORT, NEW) is None  # as few as anybody has
    for number in range(3):
        seats[0].add(key_of("/app", str(number)))
    seats[1].add(key_of("/app", "x"))
    seats[2].add(key_of("/app", "y"))
    assert slot_of(seats[0], PORT, NEW) == 3
    seats[3].drain()
    assert slot_of(seats[0], PORT, NEW) == 1
    stand_still(seats[1], 2)
    assert slot_of(seats[0], PORT, NEW) == 2
    assert slot_of(seats[0], 5007, NEW) is None  # nobody else serves that port
    seats[1].beat()
    assert slot_of(seats[0], PORT, NEW) == 1
    seats[0].drain()
    assert slot_of(seats[0], PORT, NEW) is None


@pytest.mark.parametrize("request_of", [page_of, socket_of])
def test_what_asks_for_a_session_goes_where_that_is(
    seats: list[Seat], request_of: type[Asked]
) -> None:
    seats[2].add(key_of("/app", "there"))
    asks = request_of("there")
    assert slot_of(seats[0], PORT, asks) == 2
    assert slot_of(seats[2], PORT, asks) is None
    seats[2].drain()
    seats[0].drain()
    assert slot_of(seats[0], PORT, asks) == 2  # sessions that exist go on


def test_a_busy_worker_is_waited_for_as_long_as_somebody_would_lose_work(seats: list[Seat]) -> None:
    key = key_of("/app", "there")
    seats[2].add(key)
    seats[2].created()
    stand_still(seats[2], 3)
    assert answering(seats, socket_of("there")) in ({0}, {1}, {3})
    seats[2].connect(key)
    assert slot_of(seats[0], PORT, socket_of("there")) == 2
    stand_still(seats[2], 30)
    assert answering(seats, socket_of("there")) in ({0}, {1}, {3})


def test_a_worker_that_creates_sessions_is_waited_for_although_nobody_is_connected(
    seats: list[Seat],
) -> None:
    seats[2].add(key_of("/app", "there"))
    seats[2].created()
    seats[2].add(key_of("/app", "next"))
    stand_still(seats[2], 3)
    choice = giving.choose(seats[0], PORT, socket_of("there"))
    assert choice == giving.Choice(2, os.getpid(), giving.SESSION_SECONDS)
    seats[2].created()
    stand_still(seats[2], 3)
    assert answering(seats, socket_of("there")) in ({0}, {1}, {3})


def test_of_a_crowd_the_workers_that_import_for_the_first_time_get_their_share(
    seats: list[Seat],
) -> None:
    for seat in seats[1:]:
        seat.add(key_of("/app", f"first {seat.slot}"))
        stand_still(seat, 1)
    kept = 0
    while slot_of(seats[0], PORT, NEW) is None:
        seats[0].expect()
        kept += 1
    assert kept == 1 + giving.ABOUT_EQUAL + 1
    for _ in range(6):
        choice = giving.choose(seats[0], PORT, NEW)
        assert choice is not None
        assert choice.patience == giving.NEW_SESSION_SECONDS
        seats[0].give(choice.slot, +1)
        seats[0].expect()
        seats[0].expect()
    assert [seats[0].board.load(slot) for slot in (1, 2, 3)] == [3, 3, 3]
    seats[1].drain()
    seats[2].created()
    assert slot_of(seats[0], PORT, NEW) == 3
    stand_still(seats[3], giving.SESSION_SECONDS)
    assert slot_of(seats[0], PORT, NEW) is None


def test_a_page_without_a_session_counts_until_it_has_one_or_is_seen_to_need_none(
    seats: list[Seat],
) -> None:
    for _ in range(3):
        seats[1].expect()
    assert seats[0].board.load(1) == 3
    seats[1].beat()
    seats[1].add(key_of("/app", "one"))
    seats[1].expect()
    assert seats[0].board.load(1) == 4
    seats[1].beat()
    assert seats[0].board.load(1) == 2  # the session, and the page that has just come
    seats[1].beat()
    assert seats[0].board.load(1) == 1


def test_all_workers_choose_the_same_one_for_a_new_session_of_a_given_id(
    seats: list[Seat],
) -> None:
    chosen = [answering(seats, page_of(str(number))) for number in range(40)]
    assert {len(slots) for slots in chosen} == {1}
    assert set.union(*chosen) == {0, 1, 2, 3}
    for number in range(giving.ABOUT_EQUAL + 1):
        seats[0].add(key_of("/app", f"other {number}"))
    chosen = [answering(seats, page_of(f"new {number}")) for number in range(40)]
    assert set.union(*chosen) == {1, 2, 3}


def test_a_choice_holds_while_a_worker_with_fewer_sessions_starts(
    seats: list[Seat], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seat in seats[:3]:
        for number in range(giving.ABOUT_EQUAL + 1):
            seat.add(key_of("/app", f"{seat.slot} {number}"))
    seats[3].board.put(3, board.PROCESS, 0)
    ids = [str(number) for number in range(40)]
    before = [slot_of(seats[0], PORT, socket_of(each)) or 0 for each in ids]
    seats[3] = Seat(seats[0].board, 3)
    seats[3].serve([PORT])
    seats[3].beat()
    again = [answering(seats, socket_of(each)) for each in ids]
    assert again == [{slot} for slot in before]
    monkeypatch.setattr(board, "CHOICE_SECONDS", -1)
    assert {slot for each in ids for slot in answering(seats, socket_of(each))} == {3}


def test_the_next_choice_leaves_out_those_that_did_not_answer(seats: list[Seat]) -> None:
    key = key_of("/app", "there")
    seats[2].add(key)
    first = giving.choose(seats[0], PORT, page_of("there"))
    assert first is not None
    assert first.slot == 2
    following = giving.choose(seats[0], PORT, page_of("there"), [first])
    assert following is None or following.slot in (1, 3)
    seats[3].add(key)
    created = giving.choose(seats[0], PORT, page_of("there"), [first])
    assert created is not None
    assert created.slot == 3
    assert giving.choose(seats[0], PORT, NEW, [first]) is None


def test_of_two_sessions_with_one_id_the_one_is_meant_that_somebody_was_connected_to(
    seats: list[Seat],
) -> None:
    key = key_of("/app", "twice")
    seats[1].add(key)
    seats[2].add(key)
    assert slot_of(seats[2], PORT, socket_of("twice")) is None
    seats[1].connect(key)
    assert slot_of(seats[2], PORT, socket_of("twice")) == 1
    assert slot_of(seats[1], PORT, socket_of("twice")) is None
