"""What is known of the objects of one kind, from lists, the events of a watch and our own writes.

Pure: no I/O and no clock. Whatever arrives late, twice or out of order, no object goes back to an
older version. Versions are those of the API server, which only ever increase.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")
Key = tuple[str, str]


class Item(NamedTuple, Generic[T]):
    """One object, trimmed to what we use. key: its namespace and name.

    group: what it is found by, such as the UID of its owner; None if it does not concern us.
    """

    key: Key
    version: int
    group: Hashable | None
    value: T


class Gone(NamedTuple):
    """An object that is not there at a version; if group is given, it is not in that group.

    last: the last version of it that was known.
    """

    last: int
    version: int
    group: Hashable | None = None

    def hides(self, item: Item[Any]) -> bool:
        """Return whether what is said of an object is from before."""
        everywhere = self.group is None or self.group == item.group
        return item.version <= (self.version if everywhere else self.last)


class Store(Generic[T]):
    """The objects of one kind. One thread may write while others read.

    version: everything up to this version of the API server is in the store.
    """

    def __init__(self) -> None:
        self.version = 0
        self._items: dict[Key, Item[T]] = {}
        self._groups: dict[Hashable, dict[Key, Item[T]]] = {}
        self._sorted: dict[Hashable, tuple[T, ...]] = {}
        self._gone: dict[Key, Gone] = {}
        self._expected: dict[Key, int] = {}
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._items)

    def newest(self) -> int:
        """Return the newest version of anything that was read or written."""
        with self._lock:
            items = (item.version for item in self._items.values())
            return max((self.version, *self._expected.values(), *items))

    def items(self) -> tuple[Item[T], ...]:
        """Return all objects, sorted by namespace and name."""
        with self._lock:
            return tuple(self._items[key] for key in sorted(self._items))

    def group(self, group: Hashable) -> tuple[T, ...]:
        """Return the objects of a group, sorted by namespace and name."""
        with self._lock:
            if group not in self._sorted:
                found = self._groups.get(group, {})
                self._sorted[group] = tuple(found[key].value for key in sorted(found))
            return self._sorted[group]

    def replace(self, items: Iterable[Item[T]], version: int) -> None:
        """Follow a complete list of this version.

        Only what is known to be newer than the list stays. A list that is older than the store
        comes from an API server whose data was restored: then nothing of before counts.
        """
        with self._lock:
            if version < self.version:
                self._forget_all()
            self._learn(items, version, list(self._items.values()))
            self._reach(version)

    def apply(self, item: Item[T], *, deleted: bool = False) -> None:
        """Follow an event of a watch. One that is not newer than the store is a repetition."""
        with self._lock:
            if not self.version < item.version:
                return
            self._put(item._replace(group=None) if deleted else item)
            self._reach(item.version)

    def reach(self, version: int) -> None:
        """Follow a bookmark: nothing else has happened up to this version."""
        with self._lock:
            if version > self.version:
                self._reach(version)

    def learn(
        self, items: Iterable[Item[T]], version: int, groups: Iterable[Hashable] = ()
    ) -> None:
        """Follow a list of some groups, or, without groups, the answer to our own write.

        If it is older than the store, what the store does not know has been deleted since.
        """
        with self._lock:
            covered = [item for each in groups for item in self._groups.get(each, {}).values()]
            is_old = version < self.version
            known = (item for item in items if not is_old or item.key in self._items)
            self._learn(known, version, covered)

    def expect(self, key: Key, version: int) -> None:
        """Note that an object has been written since, and has this version by now."""
        with self._lock:
            self._expected[key] = version

    def is_behind(self, key: Key) -> bool:
        """Return whether an object is older than `expect` said."""
        with self._lock:
            if key not in self._expected:
                return False
            item, expected = self._items.get(key), self._expected[key]
            if (item is None or item.version < expected) and self.version < expected:
                return True
            del self._expected[key]
            return False

    def _learn(self, items: Iterable[Item[T]], version: int, covered: Iterable[Item[T]]) -> None:
        """Delete those of the covered objects that a list of this version does not have."""
        listed = {item.key: item for item in items}
        for item in covered:
            if item.key not in listed and item.version <= version:
                self._remove(item.key)
                self._gone[item.key] = Gone(item.version, version, item.group)
        for item in listed.values():
            self._put(item)

    def _put(self, item: Item[T]) -> None:
        known, gone = self._items.get(item.key), self._gone.get(item.key)
        if (known is not None and item.version <= known.version) or (gone and gone.hides(item)):
            return
        self._remove(item.key)
        if item.group is None:
            self._gone[item.key] = Gone(item.version, item.version)
            return
        self._items[item.key] = item
        self._groups.setdefault(item.group, {})[item.key] = item
        self._sorted.pop(item.group, None)

    def _remove(self, key: Key) -> None:
        item = self._items.pop(key, None)
        self._gone.pop(key, None)
        if item is None:
            return
        self._sorted.pop(item.group, None)
        rest = self._groups[item.group]
        del rest[key]
        if not rest:
            del self._groups[item.group]

    def _reach(self, version: int) -> None:
        """Older events are repetitions from now on, so older deletions need not be remembered."""
        self.version = version
        if self._gone:
            later = {key: gone for key, gone in self._gone.items() if gone.version > version}
            self._gone = later

    def _forget_all(self) -> None:
        self.version = 0
        for kept in (self._items, self._groups, self._sorted, self._gone, self._expected):
            kept.clear()
