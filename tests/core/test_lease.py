"""Who may act: tables of what one daemon concludes, and the law that no two ever act at once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.adapters.kubernetes.calls import ANSWER_WITHIN, CONNECT_WITHIN
from autoscaler.core.checkpoint import LARGEST
from autoscaler.core.lease import (
    ACT_FOR,
    AGAIN,
    DURATION,
    LONGEST_WRITE,
    LOOK_EVERY,
    RENEW_EVERY,
    Lease,
    View,
    claim,
    may_act,
    may_claim,
    pause,
    saw,
    wrote,
)

OURS, THEIRS, NOBODYS = Lease("me", "1"), Lease("other", "1"), Lease("", "1")
NEVER = View("me")
HELD = View("me", OURS, since=100.0, renewed_at=100.0)


@pytest.mark.parametrize(
    ("view", "now", "expected"),
    [
        pytest.param(NEVER, 0.0, True, id="there is none and there never was"),
        pytest.param(View("me", NOBODYS, 100.0), 100.0, True, id="it was given back"),
        pytest.param(HELD, 1_000.0, True, id="it is ours, however long it was not renewed"),
        pytest.param(View("me", THEIRS, 100.0), 111.9, False, id="another one's, and young"),
        pytest.param(View("me", THEIRS, 100.0), 112.0, True, id="another one's, and silent"),
        pytest.param(
            View("me", THEIRS._replace(duration=60.0), 100.0), 159.9, False, id="its own promise"
        ),
        pytest.param(
            View("me", THEIRS._replace(duration=2.0**31), 100.0), 159.9, False, id="68 years, young"
        ),
        pytest.param(
            View("me", THEIRS._replace(duration=2.0**31), 100.0), 160.0, True, id="68 years, silent"
        ),
        pytest.param(
            View("me", THEIRS._replace(duration=1.0), 100.0), 111.9, False, id="one second, young"
        ),
        pytest.param(
            View("me", THEIRS._replace(duration=1.0), 100.0), 112.0, True, id="one second, silent"
        ),
        pytest.param(
            View("me", THEIRS._replace(duration=nan), 100.0), 111.9, False, id="no number, young"
        ),
        pytest.param(
            View("me", THEIRS._replace(duration=nan), 100.0), 112.0, True, id="no number, silent"
        ),
        pytest.param(View("me", None, 100.0), 111.9, False, id="it vanished just now"),
        pytest.param(View("me", None, 100.0), 112.0, True, id="it vanished long ago"),
    ],
)
def test_whether_to_claim_a_lease(view: View, now: float, expected: bool) -> None:
    assert may_claim(view, now) is expected


@pytest.mark.parametrize(
    ("view", "now", "expected"),
    [
        pytest.param(NEVER, 0.0, False, id="never held it"),
        pytest.param(HELD, 100.0, True, id="just renewed"),
        pytest.param(HELD, 100.0 + ACT_FOR - 0.1, True, id="renewed a while ago"),
        pytest.param(HELD, 100.0 + ACT_FOR, False, id="a write might outlast the Lease"),
        pytest.param(saw(HELD, Lease("other", "2"), 101.0), 101.0, False, id="taken"),
        pytest.param(saw(HELD, None, 101.0), 101.0, False, id="deleted"),
        pytest.param(saw(HELD, Lease("me", "2"), 101.0), 101.0, True, id="labelled by somebody"),
    ],
)
def test_whether_to_act(view: View, now: float, expected: bool) -> None:
    assert may_act(view, now) is expected


def test_a_lease_that_is_looked_at_again_is_no_younger_for_that() -> None:
    view = saw(View("me"), THEIRS, 100.0)
    view = saw(view, THEIRS, 110.0)

    assert may_claim(view, 112.0)
    assert not may_claim(saw(view, Lease("other", "2"), 111.0), 120.0)


def test_a_claim_counts_holders_and_carries_the_state() -> None:
    assert claim(NEVER, "") == Lease("me", "", DURATION, 0, "")
    assert claim(HELD, "text") == Lease("me", "1", DURATION, 0, "text")
    taken = claim(View("me", THEIRS._replace(duration=60.0, transitions=4)), "text")
    assert taken == Lease("me", "1", DURATION, 5, "text")


@pytest.mark.parametrize("count", [-1, 2**31 - 1, 2**63])
def test_a_count_of_holders_that_cannot_go_on_begins_anew(count: int) -> None:
    assert claim(View("me", THEIRS._replace(transitions=count)), "").transitions == 0


def test_a_state_that_no_daemon_wrote_is_not_carried_on() -> None:
    assert claim(View("me", THEIRS), "x" * LARGEST).state == "x" * LARGEST
    assert claim(View("me", THEIRS), "x" * (LARGEST + 1)).state == ""
    assert claim(View("me", THEIRS), "€" * (LARGEST // 2)).state == "", "bytes are what counts"


@pytest.mark.parametrize(
    ("view", "failed", "expected"),
    [
        (NEVER, False, LOOK_EVERY),
        (View("me", THEIRS, since=89.5), False, 0.5),
        (HELD, False, RENEW_EVERY - 1.0),
        (HELD, True, LOOK_EVERY),
        (replace(HELD, renewed_at=0.0), False, AGAIN),
    ],
    ids=["standing by", "soon silent", "leading", "the API failed", "somebody else wrote it"],
)
def test_when_to_look_again(view: View, failed: bool, expected: float) -> None:
    assert pause(view, 101.0, failed=failed) == expected


def test_the_longest_write_is_what_the_adapter_allows_for_one() -> None:
    assert CONNECT_WITHIN + ANSWER_WITHIN <= LONGEST_WRITE
    assert RENEW_EVERY < ACT_FOR < DURATION - LONGEST_WRITE


@dataclass
class Request:
    """One request on its way: a write if it carries a Lease. answer None: not there yet."""

    sent: float
    lease: Lease | None = None
    answered: bool = False
    found: Lease | None = None
    refused: bool = False


@dataclass
class Server:
    """One Lease as an API server keeps it."""

    lease: Lease | None = None
    writes: int = 0

    def serve(self, request: Request) -> None:
        request.answered = True
        if request.lease is not None:
            version = "" if self.lease is None else self.lease.version
            request.refused = request.lease.version != version
            if not request.refused:
                self._store(request.lease)
        request.found = self.lease

    def edit(self, duration: float) -> None:
        """Somebody without a part in the protocol sets the duration."""
        if self.lease is not None:
            self._store(self.lease._replace(duration=duration))

    def _store(self, lease: Lease) -> None:
        self.writes += 1
        self.lease = lease._replace(version=str(self.writes))


@dataclass
class Daemon:
    """One that follows the rules, by a clock with an origin and a pace of its own."""

    view: View
    origin: float
    pace: float
    request: Request | None = None
    late: list[Request] = field(default_factory=list)
    acts_until: float = -inf

    def clock(self, now: float) -> float:
        return self.origin + now * self.pace

    def go_on(self, server: Server, now: float) -> None:
        """The next thing that can happen to it: a request leaves, is served, or is answered."""
        request = self.request
        if request is None:
            self._send(now, claim(self.view, "") if self.view.is_held else None)
        elif not request.answered:
            server.serve(request)
        else:
            self._hear(request, now)

    def _send(self, now: float, lease: Lease | None) -> None:
        self.request = Request(self.clock(now), lease)

    def _hear(self, request: Request, now: float) -> None:
        self.request = None
        if request.lease is None:
            self.view = saw(self.view, request.found, self.clock(now))
            if may_claim(self.view, self.clock(now)):
                self._send(now, claim(self.view, ""))
        elif request.refused:
            self._send(now, None)
        elif request.found is not None and request.lease.holder:
            self.view = wrote(self.view, request.found, request.sent)
            ends = (request.sent + ACT_FOR - self.origin) / self.pace
            self.acts_until = max(self.acts_until, ends)

    def lose(self, now: float) -> None:
        """The answer never comes; the request itself may still arrive, at any time."""
        if self.request is not None and not self.request.answered:
            self.late.append(self.request)
        self.request = None

    def give_back(self, now: float) -> None:
        """No write of its own is under way, and none follows."""
        if self.request is None and self.view.is_held:
            self._send(now, claim(self.view, "")._replace(holder=""))
            self.view = replace(self.view, renewed_at=None)
            self.acts_until = -inf


paces = st.floats(0.985, 1.015)
daemons = st.lists(st.tuples(st.floats(-1e5, 1e5), paces), min_size=2, max_size=3)
actions = st.sampled_from(["one", *["go on"] * 6, "lose", "late", "give back", "edit"])
durations = st.sampled_from([-1.0, 0.0, 1.0, 6.0, DURATION, 60.0, 2.0**31]) | st.floats(0, 30)
waits = st.sampled_from([0.0, 0.0, 0.01, 2.0, 11.7, 12.3]) | st.floats(0, 16)
steps = st.lists(st.tuples(st.integers(0, 2), actions, waits), min_size=4, max_size=40)


@settings(max_examples=500)
@given(daemons, steps, durations)
def test_no_two_daemons_ever_act_at_once(
    clocks: list[tuple[float, float]], history: list[tuple[int, str, float]], duration: float
) -> None:
    server, now = Server(), 0.0
    fleet = [Daemon(View(f"d{i}"), *clock) for i, clock in enumerate(clocks)]
    for number, action, wait in history:
        now += wait
        daemon = fleet[number % len(fleet)]
        if action == "lose":
            daemon.lose(now)
        elif action == "give back":
            daemon.give_back(now)
        elif action == "edit":
            server.edit(duration)
        elif action == "late" and daemon.late:
            server.serve(daemon.late.pop(0))
        for _ in range({"one": 1, "go on": 5}.get(action, 0)):  # read, heard, written, heard, ...
            daemon.go_on(server, now)
            others = [each for each in fleet if each is not daemon]
            if may_act(daemon.view, daemon.clock(now)):
                assert all(each.acts_until + LONGEST_WRITE <= now for each in others)
