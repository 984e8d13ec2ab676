"""Watches: each keeps one store up to date, in a thread of its own, whatever the network does.

The server ends each watch after 30 s, and another one continues where it ended. What a store says
is confirmed by each event and bookmark, and by such an end, which arrives after all that was sent
before it. A quiet server need not send any bookmark, so they alone would not do. A watch that does
not end in time, because its connection broke without a word or a proxy keeps what it receives, is
ended here and made again; that it was accepted confirms nothing.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from autoscaler.adapters.kubernetes.calls import GoneError, follow
from autoscaler.adapters.kubernetes.deadline import Deadline
from autoscaler.adapters.kubernetes.kinds import EVERYWHERE, Kind
from autoscaler.adapters.kubernetes.objects import version_of
from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.adapters.kubernetes.store import Item, Store
from autoscaler.errors import AutoscalerError, ClusterError, ForbiddenError

LOG = logging.getLogger("autoscaler")
# Objects in one page of the first list; each page is trimmed before the next one is read.
PAGE = 250
# Added namespaces that are listed one by one; with more, everything is listed again.
MOST_ALONE = 10
# Seconds between two attempts after one failure, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
# Failures in a row after which lists take the place of the watch.
FAILURES = 3
# The share of its time after which the end of a watch is the server's.
IN_TIME = 0.9


class Pace(NamedTuple):
    """Seconds that a watch lasts: usually, and the first one after a failure.

    The latter is short, because its end confirms what is known. grace: how much later than the
    server a watch is ended here. list_after: seconds since the last confirmation after which a
    watch that keeps failing lists; a silent watch and a pause more, and the store is still fresh.
    """

    round: int = 30
    first_round: int = 5
    grace: float = 5.0
    list_after: float = 20.0


USUAL = Pace()


class Watch:
    """Follows the objects of one kind, in one namespace or everywhere.

    only: the namespaces whose objects are kept, and `cover` adds others; None: all. heard_at:
    steady time at which what the store says was last confirmed; None before the first list.
    problem: why the last attempt failed, if it did. failures: how many attempts failed.
    """

    def __init__(
        self,
        kind: Kind,
        namespace: str,
        only: frozenset[str] | None,
        steady: Callable[[], float],
        pace: Pace,
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self.store: Store[Any] = Store()
        self.heard_at: float | None = None
        self.problem: AutoscalerError | None = None
        self.looked = threading.Event()
        self.failures = 0
        self._keeps_all = only is None
        self._wanted = only or frozenset()
        self._kept_of = self._listed = frozenset[str]()
        self._has_listed = threading.Condition()
        self._steady = steady
        self._pace = pace
        self._must_list = True
        self._in_a_row = 0
        self._deadline = Deadline(0.0)
        self._stopping = threading.Event()
        name = f"watch {kind.resource} {namespace}".strip()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Follow the objects from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch and its thread, without waiting for it."""
        self._stopping.set()
        self._deadline.end()

    @property
    def is_followed(self) -> bool:
        """Whether everything was listed, and the server has accepted a watch from there on."""
        is_accepted = self.looked.is_set() and self.problem is None
        return is_accepted and self.heard_at is not None

    def cover(self, namespaces: frozenset[str]) -> None:
        """Keep the objects of these namespaces too, and list theirs alone."""
        if not namespaces <= self._wanted:
            self._wanted |= namespaces
            self._deadline.end()

    def has_listed(self, namespace: str, within: float) -> bool:
        """Return whether the objects of a namespace are known; waits at most so many seconds."""
        with self._has_listed:
            return self._has_listed.wait_for(lambda: namespace in self._listed, within)

    def resync(self) -> None:
        """List everything again, as soon as the present watch has ended."""
        self._must_list = True
        self._deadline.end()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._attempt()
            self.looked.set()
            luck = random.random()  # noqa: S311 - it only spreads attempts
            asked = self.problem.retry_after if isinstance(self.problem, ClusterError) else 0.0
            self._stopping.wait(max(asked, pause_after(self._in_a_row, luck)))

    def _attempt(self) -> None:
        """Make one round. Raises nothing."""
        last, is_early = self.problem, False
        try:
            is_early = not self._make_round_or_two()
            self.problem = None
        except AutoscalerError as error:
            self.problem = error
            self._must_list = self._must_list or isinstance(error, GoneError)
        except Exception as error:  # a defect must not end the thread
            self.problem = ClusterError(f"internal error (a bug, please report it): {error!r}")
            self._must_list = True
            LOG.exception("%s: %s", self._thread.name, self.problem)
        failed = self.problem is not None or is_early
        self._in_a_row = self._in_a_row + 1 if failed else 0
        self.failures += failed
        if self.problem is not None and last is None and not self._stopping.is_set():
            LOG.warning(
                "%s; it is tried again, and until then what was seen last counts", self.problem
            )

    def _make_round_or_two(self) -> bool:
        """Make one round, and another one at once if something was not allowed.

        Credentials that have just changed may be known to one API server and not to another one, so
        only the second refusal counts.
        """
        try:
            return self._make_round()
        except ForbiddenError:
            return self._make_round()

    def _make_round(self) -> bool:
        """Watch, and return whether the server has ended it in time.

        An end that comes early may be that of a proxy, which need not have asked the server, so it
        confirms nothing.
        """
        if self._must_list:
            self._list()
            self._must_list = False
        elif self._watches_in_vain():
            with suppress(AutoscalerError):  # the watch may work by now, and says so if not
                self._list()
        elif self._lacks_some():
            self._list_more()
        seconds = self._pace.first_round if self._in_a_row else self._pace.round
        self._deadline = Deadline(seconds + self._pace.grace)
        if self._stopping.is_set() or self._lacks_some():
            return True
        began = self._steady()
        try:
            self._follow(seconds)
        except ClusterError:
            if not self._lacks_some():
                raise
            return True  # it was ended to list what was added
        ended = self._steady()
        if ended - began < IN_TIME * seconds:
            return False
        self.heard_at = ended
        return True

    def _follow(self, seconds: int) -> None:
        follow(
            ("watch", self.kind.resource, self.namespace, ""),
            self._deadline,
            self.kind.call(self.namespace),
            self._be_accepted,
            self._heed,
            resource_version=str(self.store.version),
            allow_watch_bookmarks=True,
            timeout_seconds=seconds,
        )

    def _be_accepted(self) -> None:
        """Follow the beginning of a watch, which confirms that it is allowed and nothing else."""
        if isinstance(self.problem, ForbiddenError):
            self.problem = None
        self.looked.set()

    def _lacks_some(self) -> bool:
        """Whether namespaces were added that have not been listed."""
        return not self._wanted <= self._listed

    def _watches_in_vain(self) -> bool:
        """Whether watches keep failing, so that what is known would grow old without a list.

        A watch that may not be made is none of these: a list would hide which verb is missing.
        """
        if self._in_a_row < FAILURES or isinstance(self.problem, ForbiddenError):
            return False
        return self._steady() - (self.heard_at or 0.0) >= self._pace.list_after

    def _list(self) -> None:
        """List everything."""
        began, wanted = self._steady(), self._wanted
        self._kept_of = wanted
        self.store.replace(*self._read(self.namespace))
        self.heard_at, self.problem = began, None
        self._tell_listed(wanted)

    def _list_more(self) -> None:
        """List the namespaces that were added, between two watches.

        No event is applied meanwhile, and the next watch begins before these lists, so it tells of
        each deletion since.
        """
        wanted = self._wanted
        new = wanted - self._listed
        if len(new) > MOST_ALONE:
            self._list()
            return
        self._kept_of = wanted
        for each in new:
            self.store.learn(*self._read(each))
        self._tell_listed(wanted)

    def _read(self, place: str) -> tuple[list[Item[Any]], int]:
        """Return a list and its version; each page is trimmed before the next one is read."""
        pages = self.kind.pages(place, limit=PAGE)
        trimmed = [([*self._kept(page)], version) for page, version in pages]
        return [item for page, _ in trimmed for item in page], trimmed[0][1]

    def _tell_listed(self, namespaces: frozenset[str]) -> None:
        with self._has_listed:
            self._listed = namespaces
            self._has_listed.notify_all()

    def _heed(self, event: Json) -> None:
        """Follow one event of the watch, or a bookmark, which only has a version."""
        found: Json = event["object"]
        for item in self._kept([found] if event["type"] != "BOOKMARK" else []):
            self.store.apply(item, deleted=event["type"] == "DELETED")
        self.store.reach(version_of(found["metadata"]))
        self.heard_at, self.problem = self._steady(), None

    def _kept(self, items: list[Json]) -> Iterator[Item[Any]]:
        for each in items:
            if self._keeps(each["metadata"]["namespace"]):
                yield self.kind.trim(each)

    def _keeps(self, namespace: str) -> bool:
        return self.namespace != EVERYWHERE or self._keeps_all or namespace in self._kept_of


def pause_after(failures: int, luck: float) -> float:
    """Return for how many seconds to wait after so many failures in a row.

    It doubles with each of them. luck: from 0 to 1; it shortens the pause by up to a half, so that
    watches that broke at the same moment do not come back at the same moment.
    """
    if failures == 0:
        return 0.0
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
    return longest * (1.0 - luck / 2.0)
