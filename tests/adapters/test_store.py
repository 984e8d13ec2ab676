"""A store is what a list would say, whatever a watch delivers late, twice or out of order."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from autoscaler.adapters.kubernetes.store import Item, Key, Store
from autoscaler.adapters.kubernetes.watching import LONGEST_PAUSE, pause_after


def item(name: str, version: int, group: str | None = "a") -> Item[str]:
    return Item(("bokeh", name), version, group, f"{name} {version}")


def filled(*items: Item[str], version: int = 10) -> Store[str]:
    store: Store[str] = Store()
    store.replace(items, version)
    return store


def said(store: Store[str]) -> list[str]:
    return [each.value for each in store.items()]


def test_a_created_a_changed_and_a_deleted_object_are_followed() -> None:
    store = filled(item("x", 3))

    store.apply(item("y", 11))
    store.apply(item("x", 12, "b"))
    assert (said(store), store.group("a"), store.group("b")) == (
        ["x 12", "y 11"],
        ("y 11",),
        ("x 12",),
    )

    store.apply(item("x", 13, "b"), deleted=True)
    assert (said(store), store.group("b"), len(store)) == (["y 11"], (), 1)


def test_an_object_that_loses_its_owner_no_longer_concerns_us() -> None:
    store = filled(item("x", 3))

    store.apply(item("x", 11, None))

    assert said(store) == []


@pytest.mark.parametrize("deleted", [False, True])
def test_a_repetition_of_old_events_does_not_go_back(deleted: bool) -> None:
    store = filled(item("x", 9))

    store.apply(item("x", 5), deleted=deleted)
    store.apply(item("y", 10), deleted=deleted)

    assert (said(store), store.version) == (["x 9"], 10)


def test_an_event_from_before_our_own_write_does_not_undo_it() -> None:
    store = filled(item("x", 3))
    store.learn([item("x", 15)], 15)

    store.apply(item("x", 12))
    assert said(store) == ["x 15"]
    store.apply(item("x", 16))
    assert said(store) == ["x 16"]


def test_a_pod_that_a_fresh_read_did_not_find_stays_deleted_until_it_is_made_again() -> None:
    store = filled(item("x", 3), item("y", 4), item("z", 5, "b"))
    store.learn([item("y", 4)], 20, ["a"])
    assert said(store) == ["y 4", "z 5"]

    store.apply(item("x", 14))
    assert said(store) == ["y 4", "z 5"]
    store.apply(item("x", 21))
    assert said(store) == ["x 21", "y 4", "z 5"]


def test_a_pod_that_was_deleted_while_it_was_read_does_not_come_back() -> None:
    store = filled(item("x", 3), item("y", 4))
    store.apply(item("x", 12), deleted=True)

    store.learn([item("x", 3), item("y", 4)], 11, ["a"])

    assert said(store) == ["y 4"]


def test_an_object_that_a_fresh_read_misses_may_have_moved_to_another_group() -> None:
    """As an HPA whose target was changed, of which the watch has yet to tell."""
    store = filled(item("x", 3))
    store.learn([], 20, ["a"])

    store.apply(item("x", 14, "b"))

    assert (store.group("a"), store.group("b")) == ((), ("x 14",))


def test_an_older_list_forgets_nothing_newer() -> None:
    """The pages of a long list are as old as the first one."""
    store = filled(item("x", 3), item("y", 4))
    store.learn([item("x", 15), item("n", 16)], 16, ["a"])

    store.replace([item("x", 3), item("y", 4)], 12)

    assert said(store) == ["n 16", "x 15"]


def test_a_list_from_before_what_is_known_is_of_a_server_that_was_restored() -> None:
    store = filled(item("x", 300), version=400)

    store.replace([item("x", 3), item("y", 4)], 5)
    store.apply(item("y", 6))

    assert said(store) == ["x 3", "y 6"]


def test_a_store_is_behind_our_write_until_it_shows_it() -> None:
    store, key = filled(item("x", 3)), ("bokeh", "x")
    assert not store.is_behind(key)

    store.expect(key, 15)
    store.apply(item("y", 14))
    assert store.is_behind(key)
    store.apply(item("x", 15))
    assert not store.is_behind(key)


def test_a_store_is_not_behind_an_object_that_is_gone() -> None:
    store, key = filled(item("x", 3)), ("bokeh", "x")
    store.expect(key, 15)

    store.apply(item("x", 16), deleted=True)

    assert not store.is_behind(key)


class Write(NamedTuple):
    """What an API server did at a version. item None: it deleted the object."""

    key: Key
    version: int
    item: Item[str] | None


FIRST = 10
names, groups, numbers = st.sampled_from("xyz"), st.sampled_from("ab"), st.integers(1, 8)


class AnyHistory(RuleBasedStateMachine):
    """A store behind an API server whose every write has the next version.

    delivered: how many of the writes the watch has brought.
    """

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[Write] = []
        self.delivered = 0
        self.store: Store[str] = filled(version=FIRST)
        self.last: dict[Key, int] = {}

    @rule(name=names, group=groups | st.none())
    def an_object_is_written(self, name: str, group: str | None) -> None:
        at = self.version + 1
        made = None if group is None else item(name, at, group)
        self.writes.append(Write(("bokeh", name), at, made))

    @precondition(lambda self: self.delivered < len(self.writes))
    @rule()
    def an_event_arrives(self) -> None:
        self.deliver(self.writes[self.delivered])
        self.delivered += 1

    @rule(number=numbers)
    def old_events_are_repeated(self, number: int) -> None:
        """A proxy does so, or a watch that begins a little earlier than it need."""
        for write in self.writes[max(0, self.delivered - number) : self.delivered]:
            self.deliver(write)

    @rule()
    def a_bookmark_arrives(self) -> None:
        self.store.reach(FIRST + self.delivered)

    @rule(number=numbers | st.just(0))
    def a_resync_lists_everything(self, number: int) -> None:
        """The pages of the list may have taken long, and other reads were faster."""
        at = max(FIRST + self.delivered, self.version - number)
        self.store.replace(self.listed(at).values(), at)
        self.delivered = at - FIRST

    @rule(group=groups, number=numbers | st.just(0))
    def a_group_is_read(self, group: str, number: int) -> None:
        """The answer may take long, and the watch was faster."""
        at = max(FIRST, self.version - number)
        found = [each for each in self.listed(at).values() if each.group == group]
        self.store.learn(found, at, [group])

    @precondition(lambda self: self.writes and self.writes[-1].item is not None)
    @rule()
    def a_patch_of_ours_is_answered(self) -> None:
        self.store.learn([self.writes[-1].item], self.version)

    @invariant()
    def no_object_goes_back(self) -> None:
        versions = {each.key: each.version for each in self.store.items()}
        for key, at in self.last.items():
            later = [write for write in self.writes if write.key == key and write.version > at]
            assert versions.get(key, at) >= at
            assert key in versions or later, f"{key} is gone without a deletion"
        self.last = {**self.last, **versions}

    def teardown(self) -> None:
        for write in self.writes[self.delivered :]:
            self.deliver(write)
        assert {each.key: each for each in self.store.items()} == self.listed(self.version)
        by_group = {value for group in "ab" for value in self.store.group(group)}
        assert by_group == set(said(self.store))

    @property
    def version(self) -> int:
        return FIRST + len(self.writes)

    def listed(self, version: int) -> dict[Key, Item[str]]:
        """What a list of this version says."""
        last = {write.key: write.item for write in self.writes[: version - FIRST]}
        return {key: found for key, found in last.items() if found is not None}

    def deliver(self, write: Write) -> None:
        gone = Item(write.key, write.version, "a", "deleted")
        self.store.apply(write.item or gone, deleted=write.item is None)


TestAnyHistory = AnyHistory.TestCase


@pytest.mark.parametrize(
    ("failures", "luck", "seconds"),
    [
        pytest.param(0, 0.5, 0.0, id="a watch that ended as it should"),
        pytest.param(1, 0.0, 0.5, id="the first failure"),
        pytest.param(1, 1.0, 0.25, id="up to a half earlier"),
        pytest.param(4, 0.0, 4.0, id="twice as long each time"),
        pytest.param(5_000, 0.0, LONGEST_PAUSE, id="up to a limit"),
    ],
)
def test_attempts_are_spread(failures: int, luck: float, seconds: float) -> None:
    assert pause_after(failures, luck) == seconds
