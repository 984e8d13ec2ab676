"""The list of the daemons that run: those that disagree about the shards never act at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.lease import ACT_FOR, AGAIN, DURATION, LONGEST_WRITE, LOOK_EVERY, RENEW_EVERY
from autoscaler.core.membership import (
    Member,
    Members,
    beat,
    from_text,
    is_due,
    may_act,
    others,
    pause,
    saw,
    sharing,
    to_text,
    without_me,
    wrote,
)

ALONE = Members("me", 1)
OTHER = Member("other", 4, 7)


def joined(view: Members, now: float) -> Members:
    return wrote(view, beat(view, now), "2", now)


def test_the_first_one_joins_and_acts() -> None:
    view = joined(saw(ALONE, "", "", 100.0), 100.0)

    assert view.listed == (Member("me", 1, 1),)
    assert may_act(view, 100.0 + ACT_FOR - 0.1)
    assert not may_act(view, 100.0 + ACT_FOR)
    assert joined(view, 102.0).listed == (Member("me", 1, 2),)


def test_whoever_comes_later_with_another_number_of_shards_waits_for_the_first_one() -> None:
    view = joined(saw(ALONE, to_text((OTHER,)), "1", 100.0), 100.0)
    assert view.listed == (OTHER, Member("me", 1, 1))
    assert not may_act(view, 100.0)
    assert sharing(view, 100.0) == ()

    silent = to_text(view.listed)
    view = joined(saw(view, silent, "3", 100.0 + DURATION - 0.1), 100.0 + DURATION - 0.1)
    assert others(view) == OTHER
    view = joined(saw(view, to_text(view.listed), "4", 113.0), 113.0)
    assert others(view) is None
    assert may_act(view, 113.0)
    assert sharing(view, 113.0) == ("me",)


def test_one_that_beats_is_not_silent_and_one_that_was_removed_comes_back_as_the_last() -> None:
    view = joined(saw(ALONE, to_text((OTHER._replace(shards=1),)), "1", 0.0), 0.0)
    for now in (5.0, 10.0, 15.0):
        beaten = OTHER._replace(shards=1, beats=int(now))
        view = joined(saw(view, to_text((beaten, *view.listed[1:])), str(now), now), now)
    assert sharing(view, 15.0) == ("other", "me")

    removed = saw(view, to_text((beaten,)), "9", 16.0)
    assert not may_act(removed, 16.0)
    assert [each.name for each in beat(removed, 16.0)] == ["other", "me"]


def test_one_that_was_removed_comes_back_with_a_beat_that_nobody_has_seen() -> None:
    view = joined(ALONE, 0.0)
    removed = saw(view, to_text((OTHER,)), "3", 12.0)

    assert beat(removed, 24.3)[-1] == Member("me", 1, 2)


def test_one_that_ends_is_not_in_the_list() -> None:
    view = joined(saw(ALONE, to_text((OTHER,)), "1", 0.0), 0.0)

    assert without_me(view) == (OTHER,)


@pytest.mark.parametrize(
    "text",
    ["", "{", "3", "[3]", '[["a"]]', '[["a", 1, "x"]]', '[["a",1,1],["a",1,2]]', "[" * 60_000],
    ids=lambda text: text[:20] or "nothing",
)
def test_whatever_is_no_list_is_none(text: str) -> None:
    assert from_text(text) is None


@pytest.mark.parametrize(("text", "version"), [("", ""), ("{", "9")], ids=["deleted", "edited"])
def test_a_lost_list_is_still_what_it_was_so_nobody_acts_beside_those_before_it(
    text: str, version: str
) -> None:
    waits = joined(saw(ALONE, to_text((OTHER,)), "1", 100.0), 100.0)
    waits = saw(waits, text, version, 101.0)
    assert beat(waits, 101.0) == (OTHER, Member("me", 1, 2)), "it is written again"
    assert not may_act(joined(waits, 101.0), 101.0)

    acts = saw(joined(saw(ALONE, "", "", 100.0), 100.0), text, version, 101.0)
    assert not may_act(acts, 101.0), "not before it is in a list again"
    assert may_act(joined(acts, 101.0), 101.0)


def test_when_to_look_and_when_to_beat() -> None:
    view = joined(ALONE, 100.0)
    assert pause(ALONE, 0.0, failed=False) == LOOK_EVERY
    assert pause(view, 100.0, failed=False) == LOOK_EVERY
    assert pause(view, 101.5, failed=False) == 0.5
    assert pause(view, 109.0, failed=False) == AGAIN
    assert (is_due(ALONE, 0.0), is_due(view, 101.0)) == (True, False)
    assert is_due(view, 100.0 + RENEW_EVERY)


@dataclass
class Server:
    text: str = ""
    writes: int = 0

    @property
    def version(self) -> str:
        return str(self.writes) if self.writes else ""


@dataclass
class Daemon:
    """One that follows the rules; a request of it is on its way for as long as the history says."""

    view: Members
    origin: float
    pace: float
    sent: tuple[float, tuple[Member, ...], str] | None = None
    acts_until: float = field(default=float("-inf"))

    def clock(self, now: float) -> float:
        return self.origin + now * self.pace

    def look(self, server: Server, now: float) -> None:
        self.sent = None
        self.view = saw(self.view, server.text, server.version, self.clock(now))

    def send(self, now: float) -> None:
        began = self.clock(now)
        self.sent = (began, beat(self.view, began), self.view.version)

    def arrive(self, server: Server, now: float, *, heard: bool) -> None:
        if self.sent is None:
            return
        (began, listed, version), self.sent = self.sent, None
        if version != server.version:
            return
        server.text, server.writes = to_text(listed), server.writes + 1
        if heard:
            self.view = wrote(self.view, listed, server.version, began)
            if others(self.view) is None:
                self.acts_until = (began + ACT_FOR - self.origin) / self.pace


paces = st.floats(0.985, 1.015)
fleets = st.lists(
    st.tuples(st.sampled_from([1, 4]), st.floats(-1e5, 1e5), paces), min_size=2, max_size=4
)
waits = st.sampled_from([0.0, 0.0, 0.5, 2.0, 6.0, 11.7, 12.3]) | st.floats(0, 14)
steps = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["look", "send", "arrive", "lost", "turn", "turn"]),
        waits,
    ),
    min_size=4,
    max_size=50,
)


@settings(max_examples=500)
@given(fleets, steps)
def test_no_two_daemons_with_different_numbers_of_shards_ever_act_at_once(
    clocks: list[tuple[int, float, float]], history: list[tuple[int, str, float]]
) -> None:
    server, now = Server(), 0.0
    fleet = [
        Daemon(Members(f"d{i}", shards), origin, pace)
        for i, (shards, origin, pace) in enumerate(clocks)
    ]
    for number, action, wait in history:
        now += wait
        daemon = fleet[number % len(fleet)]
        if action in ("look", "turn"):
            daemon.look(server, now)
        if action in ("send", "turn"):
            daemon.send(now)
        if action in ("arrive", "lost", "turn"):
            daemon.arrive(server, now, heard=action != "lost")
        if may_act(daemon.view, daemon.clock(now)):
            for other in fleet:
                if other.view.shards != daemon.view.shards:
                    assert other.acts_until + LONGEST_WRITE <= now
