"""An update from a version with one Lease in each namespace: never do both versions act."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.control.old_leases import LOOK_EVERY, MARK
from autoscaler.control.state_store import Key
from autoscaler.core import lease as rules
from autoscaler.core.checkpoint import to_text
from autoscaler.core.lease import (
    DURATION,
    GUARD_EVERY,
    GUARD_FOR,
    LONGEST_SILENCE,
    LONGEST_WRITE,
    OLD_DURATION,
    RENEW_EVERY,
    SPARE,
    Lease,
    View,
)
from autoscaler.errors import AutoscalerError, ClusterError, ForbiddenError
from autoscaler.model import State
from tests.builders import NOW
from tests.leadership.test_sharing import SPACES, World

SPACE = SPACES[0]
OLD_ACT_FOR = OLD_DURATION - LONGEST_WRITE - SPARE


@dataclass
class OldDaemon:
    """A daemon before shards, by the rules that it followed in one namespace."""

    world: World
    view: View
    state: str = ""

    def run(self) -> None:
        leases, place = self.world.leases, self.world.leases.old(SPACE)
        try:
            if not self.view.is_held:
                self.view = rules.saw(self.view, leases.read(place), self.world.now)
            if rules.may_claim(self.view, self.world.now, OLD_DURATION):
                wanted = rules.claim(self.view, self.state)._replace(duration=OLD_DURATION)
                lease = leases.write(place, wanted, taken=True)
                self.view = rules.wrote(self.view, lease, self.world.now)
        except AutoscalerError:
            self.view = rules.saw(self.view, leases.read(place), self.world.now)

    def may_act(self) -> bool:
        return rules.may_act(self.view, self.world.now, OLD_ACT_FOR)

    def end(self) -> None:
        if self.view.is_held:
            place = self.world.leases.old(SPACE)
            given = rules.claim(self.view, self.state)._replace(holder="")
            with suppress(AutoscalerError):
                self.world.leases.write(place, given, taken=False)
        self.view = replace(self.view, renewed_at=None)


def old_daemon(world: World, name: str = "old") -> OldDaemon:
    daemon = OldDaemon(world, View(name))
    daemon.run()
    return daemon


def holder(world: World) -> str:
    return world.leases.leases[world.leases.old(SPACE)].holder


def test_where_an_old_daemon_leads_the_new_one_waits_and_leads_elsewhere() -> None:
    world = World()
    old = old_daemon(world)
    new = world.start()
    for _ in range(40):
        old.run()
        world.run(1)

    assert old.may_act()
    assert new.leads() == set(SPACES) - {SPACE}
    status = new.run()[SPACE]
    words = f"standby: old, of an earlier version, holds Lease {SPACE}/bokeh-autoscaler"
    assert (status.detail, status.is_standby) == (words, True)


def test_when_the_old_daemon_ends_the_new_one_leads_with_what_it_knew() -> None:
    world = World()
    old = old_daemon(world)
    old.state = to_text({("dashboards", "uid"): State(last_scale_up=NOW)}, NOW)
    old.run()
    new = world.start()
    world.run(4)
    old.end()
    world.run(LOOK_EVERY)

    assert new.leads() == set(SPACES)
    assert new.store.of(Key(SPACE, "dashboards", "uid")) == State(last_scale_up=NOW)
    assert holder(world).endswith(MARK)


def test_the_lease_of_an_old_daemon_that_was_killed_is_taken_when_it_has_run_out() -> None:
    world = World()
    old_daemon(world)
    new = world.start()
    world.run(OLD_DURATION - 1)
    assert SPACE not in new.leads()

    world.run(4)
    assert SPACE in new.leads()


def test_a_second_old_daemon_does_not_come_between_however_long_the_update_takes() -> None:
    world = World()
    first = old_daemon(world)
    second = old_daemon(world, "second")
    new = world.start()
    world.run(4)
    first.end()
    world.run(4)
    for _ in range(300):
        second.run()
        world.run(1)
        assert not second.may_act()
        assert SPACE in new.leads()


def test_among_new_daemons_the_old_lease_is_no_reason_to_wait() -> None:
    world = World()
    old = old_daemon(world)
    first = world.start(1)
    world.run(4)
    old.end()
    world.run(4)
    second = world.start(1)
    world.run(4)
    assert SPACE in first.leads()

    world.daemons.remove(first)
    first.end()
    world.run(3)

    assert SPACE in second.leads()


def test_where_there_is_no_old_lease_none_is_made() -> None:
    world = World()
    world.start()
    world.run()

    assert {place.namespace for place in world.leases.leases} == {world.leases.namespace}


def test_once_the_old_lease_is_deleted_it_stays_so_and_the_leader_goes_on() -> None:
    world = World()
    world.leases.edit(world.leases.old(SPACE), Lease(""))
    new = world.start()
    world.run(4)
    assert holder(world).endswith(MARK)

    del world.leases.leases[world.leases.old(SPACE)]
    world.run(2 * GUARD_EVERY)

    assert new.leads() == set(SPACES)
    assert world.leases.old(SPACE) not in world.leases.leases


def test_an_update_that_is_undone_finds_the_leases_released() -> None:
    world = World()
    world.leases.edit(world.leases.old(SPACE), Lease(""))
    new = world.start()
    world.run(4)
    old = old_daemon(world)
    assert not old.may_act()

    world.daemons.remove(new)
    new.end()
    for guard in new.leadership._old._guards.values():
        new.leadership._old._release(guard)
    old.run()

    assert old.may_act()


def test_an_old_lease_that_cannot_be_read_holds_its_own_namespace_only() -> None:
    world = World()
    words = f"not allowed to get leases in namespace {SPACE}; add get on leases to the Role"
    world.leases.failures[world.leases.old(SPACE)] = ForbiddenError(words)
    new = world.start()
    world.run(4)

    assert new.leads() == set(SPACES) - {SPACE}
    assert new.run()[SPACE] == (False, words, False, None)


def test_what_an_old_daemon_knew_is_not_lost_if_the_new_one_ends_before_it_saved_it() -> None:
    world = World()
    text = to_text({("dashboards", "uid"): State(last_scale_up=NOW)}, NOW)
    world.leases.edit(world.leases.old(SPACE), Lease("", state=text))
    first = world.start()
    first.run()
    world.daemons.remove(first)

    second = world.start()
    world.run(DURATION + 4)

    assert second.store.of(Key(SPACE, "dashboards", "uid")) == State(last_scale_up=NOW)


def test_the_old_daemons_wait_for_longer_than_a_guard_counts_on() -> None:
    assert GUARD_EVERY < GUARD_FOR <= LONGEST_SILENCE - LONGEST_WRITE - SPARE
    assert RENEW_EVERY < DURATION < OLD_DURATION


actions = st.sampled_from(["old", "old", "new", "new", "fail", "end old", "start new", "end new"])
steps = st.lists(
    st.tuples(
        st.integers(0, 1), actions, st.sampled_from([0.0, 0.0, 0.5, 2.0, 7.0, 12.5, 15.5, 61.0])
    ),
    min_size=4,
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_no_two_daemons_of_any_version_ever_act_in_a_namespace_at_once(
    history: list[tuple[int, str, float]],
) -> None:
    """One acts where another did only once the other's last write is over, whatever happens."""
    world = World()
    old = [old_daemon(world, f"old-{n}") for n in range(2)]
    world.start(1)
    writes_until: dict[object, float] = {}
    for number, action, wait in history:
        world.now += wait
        world.leases.failures.clear()
        new = world.daemons[number % len(world.daemons)]
        if action == "old":
            old[number].run()
        elif action == "end old":
            old[number].end()
            writes_until[id(old[number])] = -inf
        elif action == "start new" and len(world.daemons) < 3:
            world.start(1)
        elif action == "end new":
            new.end()
            writes_until[id(new)] = -inf
        elif action in ("new", "fail"):
            if action == "fail":
                places = list(world.leases.leases)
                world.leases.failures[places[number % len(places)]] = ClusterError("no answer")
            new.run()
        acting = [each for each in old if each.may_act()]
        acting_new = [each for each in world.daemons if each.may_act(SPACE)]
        for each in (*acting, *acting_new):
            others = [until for key, until in writes_until.items() if key != id(each)]
            assert all(until <= world.now for until in others), "a write of another one may land"
        for each in (*acting, *acting_new):
            writes_until[id(each)] = world.now + LONGEST_WRITE
