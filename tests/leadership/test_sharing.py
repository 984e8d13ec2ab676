"""Daemons that share the shards: each has its part, and one that ends leaves it to the others."""

from __future__ import annotations

import threading

import pytest

from autoscaler.control.leadership import LeaseLeadership
from autoscaler.control.membership import Membership
from autoscaler.control.old_leases import AT_ONCE
from autoscaler.control.state_store import Key, StateStore
from autoscaler.core.lease import ACT_FOR, DURATION, LOOK_EVERY, RENEW_EVERY, Lease, Place
from autoscaler.core.shards import shard_of
from autoscaler.errors import (
    AutoscalerError,
    ClusterError,
    ForbiddenError,
    LeaseError,
    TargetNotFoundError,
)
from autoscaler.model import State
from autoscaler.ports import LeadershipStatus
from tests.builders import NOW
from tests.fakes import FakeClock, FakeLeases
from tests.lab.processes import wait_until
from tests.leadership.rounds import make_round

SPACES = [f"team-{n}" for n in range(40)]
WANTED = dict.fromkeys(SPACES, frozenset[str]())


def nothing() -> None:
    """There is no clock to set."""


class Daemon:
    """One daemon whose threads are the test's own hand."""

    def __init__(self, world: World, shards: int, *, is_brief: bool) -> None:
        self.store = StateStore(world.clock)
        self.leadership = LeaseLeadership(
            world.leases, self.store, lambda: world.now, shards, is_brief=is_brief
        )
        self.leadership._is_started = True
        self.busy: list[str] = []
        self.leadership._old.seek = lambda namespaces, _: seek(namespaces, 0.0)  # type: ignore[method-assign]
        seek = type(self.leadership._old).seek.__get__(self.leadership._old)

    def run(self) -> dict[str, LeadershipStatus]:
        make_round(self.leadership)
        found = dict(self.leadership.seek(WANTED, nothing, self.busy))
        make_round(self.leadership)
        for shard in self.leadership._shards:
            if shard._is_leaving:
                shard._release()
                shard._is_leaving = False
        return found

    def leads(self) -> set[str]:
        """Where it may act right now."""
        return {each for each in SPACES if self.may_act(each)}

    def may_act(self, namespace: str) -> bool:
        try:
            self.leadership.confirm(namespace)
        except LeaseError:
            return False
        return True

    def end(self) -> None:
        self.leadership._membership._leave()
        for shard in self.leadership._shards:
            shard._release()


class World:
    def __init__(self) -> None:
        self.leases, self.clock, self.now = FakeLeases(), FakeClock(), 0.0
        self.daemons: list[Daemon] = []

    def start(self, shards: int = 4, *, is_brief: bool = False) -> Daemon:
        self.daemons.append(Daemon(self, shards, is_brief=is_brief))
        return self.daemons[-1]

    def run(self, seconds: float = 10.0) -> None:
        """Let time pass; nobody ever acts where another daemon does."""
        until = self.now + seconds
        while self.now < until:
            for daemon in self.daemons:
                daemon.run()
                parts = [each.leads() for each in self.daemons]
                assert sum(map(len, parts)) == len(set().union(*parts))
            self.now += LOOK_EVERY


@pytest.fixture
def world() -> World:
    return World()


def test_one_daemon_alone_leads_everywhere(world: World) -> None:
    only = world.start()
    world.run(4)

    assert only.leads() == set(SPACES)


@pytest.mark.parametrize(("daemons", "shards"), [(2, 4), (3, 4), (3, 8), (4, 4)])
def test_daemons_that_start_one_after_the_other_end_up_with_equal_shares(
    world: World, daemons: int, shards: int
) -> None:
    for _ in range(daemons):
        world.start(shards)
        world.run()

    sizes = [sum(map(each.leadership.leads, range(shards))) for each in world.daemons]
    assert sum(sizes) == shards
    assert max(sizes) - min(sizes) <= 1
    assert set().union(*(each.leads() for each in world.daemons)) == set(SPACES)


def test_with_one_shard_the_leader_leads_and_the_others_stand_by(world: World) -> None:
    first, second = world.start(1), world.start(1)
    world.run()

    assert first.leads() == set(SPACES)
    holder = first.leadership._me
    status = second.run()[SPACES[0]]
    lease = "autoscaler/bokeh-autoscaler-0"
    assert (status.detail, status.is_standby) == (f"standby: {holder} holds Lease {lease}", True)


def test_the_shards_of_a_daemon_that_was_killed_are_taken_over_within_fifteen_seconds(
    world: World,
) -> None:
    _, second = world.start(), world.start()
    world.run()
    dead = world.daemons.pop(0)
    lost = dead.leads()
    assert lost

    world.run(ACT_FOR)
    assert dead.leads() == set()
    world.run(15.0 - ACT_FOR - LOOK_EVERY)
    second.run()

    assert second.leads() == set(SPACES)


def test_one_that_ends_hands_over_at_once_with_what_it_knew(world: World) -> None:
    first = world.start()
    world.run(4)
    for space in SPACES:
        first.store.keep(Key(space, space, "uid"), State(last_scale_up=NOW))
    second = world.start()
    world.run()
    for space in first.leads():
        first.leadership.commit(space)

    world.daemons.remove(first)
    first.end()
    world.run(2 * LOOK_EVERY)

    assert second.leads() == set(SPACES)
    known = {space for space in SPACES if second.store.of(Key(space, space, "uid"))}
    assert known == set(SPACES)


def test_a_shard_with_a_write_under_way_is_not_handed_over(world: World) -> None:
    first = world.start()
    world.run(4)
    first.busy = list(SPACES)
    second = world.start()
    world.run()
    assert second.leads() == set()
    assert first.leads() == set(SPACES)

    first.busy = []
    world.run()
    assert second.leads()


def test_a_daemon_with_another_number_of_shards_waits_until_the_others_have_ended(
    world: World,
) -> None:
    first, second = world.start(1), world.start(4)
    world.run()
    assert first.leads() == set(SPACES)
    status = second.run()[SPACES[0]]
    assert status.is_standby
    assert status.detail.endswith("runs with --shards 1, and this daemon with 4")

    world.daemons.remove(first)
    first.end()
    world.run(4)

    assert second.leads() == set(SPACES)


def test_a_daemon_whose_pass_hangs_loses_its_shards_to_the_others(world: World) -> None:
    first, second = world.start(), world.start()
    world.run()
    first.leadership.has_stalled = lambda: True  # type: ignore[method-assign]
    first.leadership._membership.has_stalled = lambda: True
    for shard in first.leadership._shards:
        shard.has_stalled = lambda: True

    world.run(DURATION + 2 * LOOK_EVERY)

    assert second.leads() == set(SPACES)


REFUSED = ForbiddenError("not allowed to get leases in namespace autoscaler; add get on leases")
SILENT = ClusterError("cannot patch leases: no answer from the Kubernetes API")


@pytest.mark.parametrize("problem", [REFUSED, SILENT], ids=["refused", "silent"])
@pytest.mark.parametrize("which", ["bokeh-autoscaler-0", "bokeh-autoscaler-daemons"])
def test_what_keeps_it_from_its_leases_is_told_in_the_words_of_the_api(
    world: World, problem: AutoscalerError, which: str
) -> None:
    daemon = world.start(1)
    place = world.leases.shard()._replace(name=which)
    world.leases.failures[place] = problem
    world.run(2)
    assert daemon.run()[SPACES[0]] == (False, str(problem), False, None)

    world.leases.failures.clear()
    world.run(4)
    assert daemon.leads() == set(SPACES)


def test_one_renewal_may_fail(world: World) -> None:
    daemon = world.start()
    world.run(RENEW_EVERY)
    for number in range(4):
        world.leases.failures[world.leases.shard(number)] = SILENT
    world.now += RENEW_EVERY - LOOK_EVERY
    daemon.run()

    assert daemon.leads() == set(SPACES)


def test_a_shard_whose_lease_is_refused_holds_no_other_one_up(world: World) -> None:
    daemon = world.start()
    world.leases.failures[world.leases.shard(1)] = REFUSED
    world.run(4)

    assert daemon.leads() == {each for each in SPACES if shard_of(each, 4) != 1}


def test_the_number_of_threads_does_not_grow_with_the_namespaces() -> None:
    before = threading.active_count()
    leases = FakeLeases()
    leadership = LeaseLeadership(leases, StateStore(FakeClock()), lambda: 0.0, 2)

    def threads_with(namespaces: int) -> int:
        wanted = {f"team-{n}": frozenset[str]() for n in range(namespaces)}
        statuses = leadership.seek(wanted, nothing)
        assert all(status.is_leader for status in statuses.values())
        return threading.active_count() - before

    try:
        most = 2 + 2 + AT_ONCE  # its shards, the list of daemons, and the Leases of old versions
        assert threads_with(50) <= most
        assert threads_with(500) <= most
    finally:
        leadership.release()
    assert {lease.holder for lease in leases.leases.values()} == {""}
    wait_until(lambda: threading.active_count() <= before, 10.0, "the threads to end")


def test_another_number_of_shards_forgets_only_what_was_known_of_namespaces_that_move(
    world: World,
) -> None:
    first = world.start(1)
    world.run(4)
    keys = {each: Key(each, each, "uid") for each in SPACES}
    for key in keys.values():
        first.store.keep(key, State(last_scale_up=NOW))
    world.run(4)
    first.end()
    world.daemons.clear()

    second = world.start(2)
    world.run(4)

    assert second.leads() == set(SPACES)
    stayed = {each for each, key in keys.items() if second.store.of(key) is not None}
    assert stayed == {each for each in SPACES if shard_of(each, 2) == 0}
    assert len(SPACES) / 4 < len(stayed) < 3 * len(SPACES) / 4


def test_a_single_pass_takes_no_namespace_from_daemons_that_run(world: World) -> None:
    first = world.start()
    world.run(4)
    brief = world.start(is_brief=True)
    world.run(2 * DURATION)

    assert first.leads() == set(SPACES)
    statuses = brief.run()
    assert all(each.is_standby for each in statuses.values())
    assert "a single pass does not take part" in statuses[SPACES[0]].detail
    listed = world.leases.leases[Place("autoscaler", "bokeh-autoscaler-daemons")].state
    assert listed.count("_") == 1, "only the first one is in the list"
    brief.end()
    world.run(4)
    assert first.leads() == set(SPACES)


def test_a_single_pass_leads_where_no_daemon_runs_any_more(world: World) -> None:
    killed = world.start()
    world.run(4)
    assert killed.leads()
    world.daemons.clear()
    brief = world.start(is_brief=True)
    assert brief.run()[SPACES[0]].is_standby
    world.run(DURATION + 2)

    assert brief.leads() == set(SPACES)


def test_a_single_pass_waits_until_it_knows_whether_another_daemon_runs() -> None:
    leases, now = FakeLeases(), [0.0]
    daemon, brief = (
        Membership(leases, lambda: now[0], name, 2, is_brief=name == "brief")
        for name in ("daemon", "brief")
    )
    daemon.attempt()
    brief.attempt()
    assert brief._is_waiting()

    now[0] = RENEW_EVERY
    daemon.attempt()
    brief.attempt()
    assert not brief._is_waiting()
    assert brief.sharing() == ("daemon",)


def test_a_namespace_of_the_leases_that_does_not_exist_is_named() -> None:
    class Nowhere(FakeLeases):
        def write(self, place: Place, lease: Lease, *, taken: bool) -> Lease:
            raise TargetNotFoundError('cannot create leases: namespaces "autoscaler" not found')

    membership = Membership(Nowhere(), lambda: 0.0, "me", 1)
    membership.attempt()

    status = membership.status()
    assert status is not None
    assert "not found" in status.detail
