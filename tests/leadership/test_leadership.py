"""Daemons that share a Lease: one leads, the next one takes over with what the last one knew."""

from __future__ import annotations

import logging

import pytest

from autoscaler.control.leadership import LeaseLeadership, identity
from autoscaler.control.shard_lease import HUNG_AFTER, ShardLease
from autoscaler.control.state_store import Key, StateStore
from autoscaler.core.lease import ACT_FOR, DURATION, RENEW_EVERY, Lease, Place
from autoscaler.errors import ClusterError, ConflictError, ForbiddenError, LeaseError
from autoscaler.model import State
from tests.builders import NOW
from tests.fakes import FakeClock, FakeLeases
from tests.leadership.rounds import make_round

SPACE = "bokeh"
PLACE = Place("autoscaler", "bokeh-autoscaler-0")
APP = Key(SPACE, "dashboards", "uid-1")
NONE: frozenset[str] = frozenset()
REFUSED = ForbiddenError(
    "not allowed to patch leases in namespace bokeh; add patch on leases to the Role"
)
SILENT = ClusterError(
    "cannot patch leases autoscaler/bokeh-autoscaler-0: no answer from the Kubernetes API"
)


def nothing() -> None:
    """There is no clock to set."""


class World:
    """One Lease, daemons that seek it by hand, and a clock of theirs."""

    def __init__(self) -> None:
        self.leases = FakeLeases()
        self.clock = FakeClock()
        self.now = 0.0

    def daemon(self, name: str) -> tuple[ShardLease, StateStore]:
        store = StateStore(self.clock)
        lease = ShardLease(PLACE, SPACE.__eq__, self.leases, store, lambda: self.now, name)
        return lease, store


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_one_leads_and_the_second_says_who_does(world: World) -> None:
    (first, _), (second, _) = world.daemon("first"), world.daemon("second")
    first.attempt()
    second.attempt()

    lease = "Lease autoscaler/bokeh-autoscaler-0"
    assert first.begin_pass() == (True, f"leading: first holds {lease}", False, None)
    assert second.begin_pass() == (False, f"standby: first holds {lease}", True, frozenset())
    first.confirm()
    with pytest.raises(LeaseError, match="nothing more was changed: standby: first holds"):
        second.confirm()


def test_one_that_renews_keeps_it(world: World) -> None:
    (first, _), (second, _) = world.daemon("first"), world.daemon("second")
    for _ in range(10):
        first.attempt()
        second.attempt()
        world.now += RENEW_EVERY

    assert first.begin_pass().is_leader
    assert second.begin_pass().is_standby


def test_a_silent_one_stops_before_the_next_one_takes_over(world: World) -> None:
    (first, _), (second, _) = world.daemon("first"), world.daemon("second")
    first.attempt()
    second.attempt()
    assert first.begin_pass().is_leader

    world.now = ACT_FOR
    second.attempt()
    late = "Lease autoscaler/bokeh-autoscaler-0 was not renewed in time"
    assert first.status() == (False, late, False, None)
    assert not second.begin_pass().is_leader

    world.now = DURATION
    second.attempt()
    assert second.begin_pass().is_leader
    with pytest.raises(ConflictError):
        first.commit()
    first.attempt()
    assert first.begin_pass().is_standby
    assert world.leases.leases[PLACE].transitions == 1


def test_what_was_written_down_is_known_to_the_next_one(world: World) -> None:
    (first, store), (second, later) = world.daemon("first"), world.daemon("second")
    first.attempt()
    first.begin_pass()
    store.keep(APP, State(last_scale_up=NOW))
    first.commit()

    world.now = DURATION
    second.attempt()  # sees it for the first time, so counts from now
    world.now = 2 * DURATION
    second.attempt()
    world.now += RENEW_EVERY
    second.attempt()  # a renewal before its first pass keeps what it has not taken over yet
    second.begin_pass()

    assert later.of(APP) == State(last_scale_up=NOW)


def test_the_clock_is_set_before_times_of_the_last_one_are_read(world: World) -> None:
    """Or a clock that is behind would take them for times to come."""
    (first, store), (second, later) = world.daemon("first"), world.daemon("second")
    first.attempt()
    first.begin_pass()
    store.keep(APP, State(last_scale_up=NOW))
    first.commit()
    second.attempt()
    world.now = DURATION
    second.attempt()
    world.clock.advance(-600)

    def set_clock() -> None:
        world.clock.set_by(600)
        later.shift(world.clock.stepped())

    second.begin_pass(set_clock)

    assert later.of(APP) == State(last_scale_up=NOW)


def test_a_change_that_was_refused_is_not_in_the_next_renewal(world: World) -> None:
    daemon, store = world.daemon("first")
    daemon.attempt()
    daemon.begin_pass()
    store.keep(APP, State())

    def change() -> None:
        with store.change(APP, lambda state: state._replace(last_scale_up=NOW)):
            daemon.commit()
            assert str(NOW) in world.leases.leases[PLACE].state
            raise REFUSED

    with pytest.raises(ForbiddenError):
        change()
    daemon.attempt()

    assert store.of(APP) == State()
    assert world.leases.leases[PLACE].state == "{}"


def test_changes_that_were_written_down_together_are_not_written_again(world: World) -> None:
    daemon, _ = world.daemon("first")
    daemon.attempt()
    daemon.begin_pass()
    times = iter([1.0, 2.0, 2.1, 1.5, 2.2])  # asked, written, confirmed; asked earlier, confirmed
    daemon._steady = lambda: next(times)
    daemon.commit()
    writes = world.leases.writes
    daemon.commit()

    assert world.leases.writes == writes


def test_an_unreadable_state_is_told_and_forgotten(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    daemon, store = world.daemon("first")
    daemon.attempt()
    world.leases.edit(PLACE, world.leases.leases[PLACE]._replace(holder="", state="{rubbish"))
    daemon.attempt()
    daemon.attempt()
    with caplog.at_level(logging.WARNING, "autoscaler"):
        assert daemon.begin_pass().is_leader

    assert "cannot read the state saved by the previous leader" in caplog.text
    assert store.of(APP) is None


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(Lease("second", "7"), id="its state is lost"),
        pytest.param(Lease("second", "7", state="{"), id="its state is unreadable"),
        pytest.param(None, id="the Lease was deleted"),
    ],
)
def test_a_state_of_an_earlier_term_is_not_taken_for_a_new_one(
    world: World, after: Lease | None
) -> None:
    daemon, store = world.daemon("first")
    daemon.attempt()
    daemon.begin_pass()
    elsewhere = Key("other", "reports", "uid-2")
    store.keep(APP, State(last_scale_up=NOW))
    store.keep(elsewhere, State(last_scale_up=NOW))

    world.leases.leases.pop(PLACE)
    if after is not None:
        world.leases.leases[PLACE] = after
    daemon.attempt()
    world.now += DURATION
    daemon.attempt()
    assert daemon.begin_pass().is_leader

    assert store.of(APP) is None
    assert store.of(elsewhere) is not None


@pytest.mark.parametrize("problem", [REFUSED, SILENT], ids=["refused", "silent"])
def test_a_lease_that_cannot_be_had_is_told_in_the_words_of_the_api(
    world: World, problem: ClusterError
) -> None:
    daemon, _ = world.daemon("first")
    world.leases.failures[PLACE] = problem
    daemon.attempt()
    assert daemon.begin_pass() == (False, str(problem), False, None)

    world.leases.failures.clear()
    daemon.attempt()
    assert daemon.begin_pass().is_leader


def test_after_an_outage_it_goes_on_with_its_own_state(world: World) -> None:
    daemon, store = world.daemon("first")
    daemon.attempt()
    daemon.begin_pass()
    store.keep(APP, State(last_scale_up=NOW, seen_at=NOW))
    world.leases.failures[PLACE] = SILENT
    world.now = RENEW_EVERY
    daemon.attempt()
    assert daemon.begin_pass().is_leader, "a single renewal may fail"

    world.now = 60.0
    assert daemon.begin_pass() == (False, str(SILENT), False, None)

    world.leases.failures.clear()
    daemon.attempt()
    assert daemon.begin_pass().is_leader
    assert store.of(APP) == State(last_scale_up=NOW, seen_at=NOW)


def test_a_pass_of_an_earlier_term_changes_nothing_in_a_later_one(world: World) -> None:
    (first, _), (second, _) = world.daemon("first"), world.daemon("second")
    first.attempt()
    first.begin_pass()
    second.attempt()
    world.now = DURATION
    second.attempt()
    first.attempt()  # its renewal is refused
    second._release()
    first.attempt()

    with pytest.raises(LeaseError, match="another daemon led for a while"):
        first.confirm()
    first.begin_pass()
    first.confirm()


def test_a_label_from_somebody_else_is_no_loss(world: World) -> None:
    daemon, _ = world.daemon("first")
    daemon.attempt()
    daemon.begin_pass()
    world.leases.edit(PLACE, world.leases.leases[PLACE])

    with pytest.raises(ConflictError):
        daemon.commit()
    daemon.commit()


def test_one_that_gave_its_lease_back_acts_no_more(world: World) -> None:
    (first, store), (second, later) = world.daemon("first"), world.daemon("second")
    first.attempt()
    second.attempt()
    first.begin_pass()
    store.keep(APP, State(last_scale_down=NOW))
    first._release()

    second.attempt()
    assert second.begin_pass().is_leader
    assert later.of(APP) == State(last_scale_down=NOW)
    with pytest.raises(LeaseError):
        first.commit()


def test_a_pass_that_hangs_gives_the_lease_up_and_one_that_ends_gets_it_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    (first, _), (second, _) = world.daemon("first"), world.daemon("second")
    leadership = LeaseLeadership(world.leases, StateStore(world.clock), lambda: world.now)
    first.has_stalled = leadership.has_stalled
    first.attempt()
    second.attempt()

    with leadership.watched():
        first.begin_pass()
        world.now = HUNG_AFTER
        with caplog.at_level(logging.ERROR, "autoscaler"):
            first.attempt()
            first.attempt()
        assert "no progress for 30 s" in first.status().detail
        assert len(caplog.records) == 1
        with pytest.raises(LeaseError, match="nothing more was changed"):
            first.confirm()
        second.attempt()
        assert second.begin_pass().is_leader

    first.attempt()
    assert first.begin_pass().is_standby
    second._release()
    first.attempt()
    assert first.begin_pass().is_leader


def test_while_a_pass_hangs_no_lease_is_taken_either(world: World) -> None:
    daemon, _ = world.daemon("first")
    daemon.has_stalled = lambda: True
    daemon.attempt()

    assert not daemon.status().is_leader
    assert world.leases.leases == {}


def test_a_pass_is_watched_from_its_last_progress_and_one_that_raised_has_not_ended() -> None:
    now = [0.0]
    leadership = LeaseLeadership(FakeLeases(), StateStore(FakeClock()), lambda: now[0])
    assert not leadership.has_stalled()

    def broken() -> None:
        with leadership.watched():
            raise RuntimeError("a defect")

    for _ in range(2):
        with pytest.raises(RuntimeError):
            broken()
        now[0] += HUNG_AFTER / 2
    assert leadership.has_stalled()

    with leadership.watched():
        pass
    with leadership.watched():
        leadership.seek({SPACE: NONE}, nothing)
        now[0] += HUNG_AFTER - 1
        make_round(leadership)
        leadership.confirm(SPACE)
        assert not leadership.has_stalled(), "it may write, so it goes on"
        now[0] += HUNG_AFTER
        assert leadership.has_stalled()
    now[0] += HUNG_AFTER
    assert not leadership.has_stalled(), "between passes nothing hangs"
    leadership.release()


def test_a_process_has_a_name_that_no_other_one_has() -> None:
    assert identity() != identity()
