"""Which daemon acts: the namespaces' shards are shared among daemons, each shard by its Lease.

A daemon acts in a namespace while it is in the list of those that run (`membership`), holds the
Lease of the namespace's shard (`shard_lease`), and no daemon of an earlier version holds the
namespace's own Lease (`old_leases`). The number of threads depends on the number of shards alone.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from autoscaler.control.membership import Membership
from autoscaler.control.old_leases import OldLeases
from autoscaler.control.shard_lease import HUNG_AFTER, Leases, ShardLease
from autoscaler.control.state_store import StateStore
from autoscaler.core import lease as rules
from autoscaler.core.lease import Place
from autoscaler.core.shards import shard_of, shares
from autoscaler.policy import Policy
from autoscaler.ports import LeadershipStatus

# A pass waits for the first word of the Leases: two requests, and a little.
FIRST_WORD_WITHIN = 2 * rules.LONGEST_WRITE + 1.0


def identity() -> str:
    """A name of this process that no other one has had, even in the same pod."""
    return f"{socket.gethostname()[:200]}_{secrets.token_hex(4)}"


def host_of(holder: str) -> str:
    """Return the host name in an identity; in Kubernetes it is the name of the daemon's pod."""
    return holder.rpartition("_")[0] or holder


def label(policy: Policy) -> str:
    """A policy and its Deployment as a Lease names them: dashboards/bokeh/bokeh-app.

    Two teams may both have a policy `app`; with the Deployment they are told apart.
    """
    return f"{policy.name}/{policy.target.namespace}/{policy.target.deployment}"


class NoLeadership:
    """Implements `ports.Leadership` where there is one daemon only: it acts everywhere."""

    def seek(
        self,
        wanted: Mapping[str, frozenset[str]],
        set_clock: Callable[[], None],
        busy: Collection[str] = (),
    ) -> Mapping[str, LeadershipStatus]:
        """No namespace needs it."""
        return {}

    def confirm(self, namespace: str) -> None:
        """Always."""

    def commit(self, namespace: str) -> None:
        """There is nobody to tell."""

    def leads(self, shard: int) -> bool:
        """Always."""
        return True

    def release(self) -> None:
        """There is nothing to give back."""

    def watched(self) -> AbstractContextManager[None]:
        """Nobody could take over from a pass that hangs."""
        return nullcontext()


class LeaseLeadership:
    """Implements `ports.Leadership` by Leases.

    steady: a clock that is never set, in seconds. shards: how many parts the namespaces are shared
    in; a daemon with another number waits until this one has ended. is_brief: whether there is one
    pass only, which leads nowhere while another daemon runs.
    """

    def __init__(
        self,
        leases: Leases,
        store: StateStore,
        steady: Callable[[], float],
        shards: int = 1,
        *,
        is_brief: bool = False,
    ) -> None:
        self._steady = steady
        self._me = me = identity()
        self._count = shards
        self._membership = Membership(leases, steady, me, shards, is_brief=is_brief)
        self._membership.on_change = self._wake
        self._membership.has_stalled = self.has_stalled
        self._old = OldLeases(leases, store, steady, me)
        self._shards = [self._shard(shard, leases, store) for shard in range(shards)]
        self._is_started = False
        self._progress_at: float | None = None  # None: no pass is under way, and the last one ended

    def _shard(self, shard: int, leases: Leases, store: StateStore) -> ShardLease:
        place = Place(leases.namespace, f"{leases.name}-{shard}")
        covers = partial(_covers, shard, self._count)
        lease = ShardLease(place, covers, leases, store, self._steady, self._me)
        lease.is_mine = partial(self._is_mine, shard)
        lease.has_stalled = self.has_stalled
        return lease

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the pass in the `with` block: while it hangs, no Lease is renewed.

        A pass that raised has not ended; the next one has to.
        """
        if self._progress_at is None:
            self._progress_at = self._steady()
        yield
        self._progress_at = None

    def has_stalled(self) -> bool:
        """Whether the pass under way has made no progress for too long."""
        at = self._progress_at
        return at is not None and self._steady() - at >= HUNG_AFTER

    def seek(
        self,
        wanted: Mapping[str, frozenset[str]],
        set_clock: Callable[[], None],
        busy: Collection[str] = (),
    ) -> Mapping[str, LeadershipStatus]:
        """Where this daemon may act in the pass that begins; the first one waits for the Leases.

        A shard that another daemon is to have is handed over, unless a namespace of it is busy.
        """
        shards = {each: self._shards[shard_of(each, self._count)] for each in wanted}
        for lease in self._shards:
            names = (wanted[each] for each, its in shards.items() if its is lease)
            lease.policies = frozenset().union(*names)
        self._start()
        taken = {shard_of(each, self._count) for each in busy}
        self._hand_over(taken)
        statuses = {
            lease.place: lease.begin_pass(set_clock, busy=shard in taken)
            for shard, lease in enumerate(self._shards)
        }
        barred = self._membership.status()
        led = [each for each, its in shards.items() if statuses[its.place].is_leader]
        self._old.seek(led, FIRST_WORD_WITHIN)
        return {
            each: self._status_in(each, statuses[its.place], barred) for each, its in shards.items()
        }

    def _status_in(
        self, namespace: str, status: LeadershipStatus, barred: LeadershipStatus | None
    ) -> LeadershipStatus:
        if barred is not None or not status.is_leader:
            return barred or status
        return self._old.begin_pass(namespace) or status

    def confirm(self, namespace: str) -> None:
        """Raises LeaseError unless the last renewals are young and of the pass's own term."""
        self._membership.confirm()
        self._shards[shard_of(namespace, self._count)].confirm()
        self._old.confirm(namespace)
        self._progress()

    def commit(self, namespace: str) -> None:
        """Renew the Lease with what is remembered now. Raises AutoscalerError if that fails."""
        self._shards[shard_of(namespace, self._count)].commit()
        self.confirm(namespace)

    def leads(self, shard: int) -> bool:
        """Whether this daemon holds the shard and may act."""
        return self._membership.status() is None and self._shards[shard].status().is_leader

    def release(self) -> None:
        """Give all Leases back, so that others need not wait until they run out."""
        if not self._is_started:
            return
        self._membership.leave()  # first, or the others would leave the shards to this daemon
        for lease in self._shards:
            lease.stop()
        for lease in self._shards:
            lease.join()
        self._old.stop()

    def _start(self) -> None:
        if self._is_started:
            return
        self._is_started = True
        self._membership.start()
        self._membership.looked.wait(FIRST_WORD_WITHIN)
        for lease in self._shards:
            lease.start()
        self._old.start()
        for lease in self._shards:
            lease.looked.wait(FIRST_WORD_WITHIN)

    def _hand_over(self, busy: Collection[int]) -> None:
        for shard, lease in enumerate(self._shards):
            if lease.is_held and shard not in busy and not self._is_mine(shard):
                lease.hand_over()

    def _is_mine(self, shard: int) -> bool:
        holders = {number: lease.holder for number, lease in enumerate(self._shards)}
        daemons = self._membership.sharing()
        return shares(holders, daemons, self._count)[shard] == self._me

    def _wake(self) -> None:
        for lease in self._shards:
            lease.wake()

    def _progress(self) -> None:
        if self._progress_at is not None:
            self._progress_at = self._steady()


def _covers(shard: int, shards: int, namespace: str) -> bool:
    return shard_of(namespace, shards) == shard
