"""The Lease of one shard: sought, renewed, handed over and given up, by a thread of its own.

What one may conclude from what it saw is in `core.lease`; here are the requests, one at a time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from autoscaler.control.state_store import StateStore
from autoscaler.core import lease as rules
from autoscaler.core.lease import Lease, Place, View
from autoscaler.errors import AutoscalerError, ConflictError, LeaseError, TargetNotFoundError
from autoscaler.ports import LeadershipStatus
from exporter.texts import LONGEST_NAME, visible

LOG = logging.getLogger("autoscaler")
# A pass that neither ends nor may write anything for so long has hung: another daemon shall lead.
HUNG_AFTER = 30.0


class Leases(Protocol):
    """Where the Leases are. Every call is over within `core.lease.LONGEST_WRITE`.

    namespace: of the Leases that the daemons share. name: that all their names begin with.
    """

    namespace: str
    name: str

    def read(self, place: Place) -> Lease | None:
        """The Lease; None: there is none. Raises ForbiddenError or ClusterError."""

    def write(self, place: Place, lease: Lease, *, taken: bool) -> Lease:
        """Write it in place of the version in it, or create it; taken: from another holder.

        Raises ConflictError if that is no longer the newest version, TargetNotFoundError if it is
        gone, ForbiddenError or ClusterError.
        """


class ShardLease:
    """The Lease of one shard.

    covers: whether a namespace belongs to the shard. policies: those that this daemon evaluates
    while it leads, as the Lease tells others. is_mine: whether this daemon is to lead here; a Lease
    that it holds is kept in any case, until `hand_over`. has_stalled: whether the pass under way
    hangs; the Lease then runs out by itself.
    """

    def __init__(
        self,
        place: Place,
        covers: Callable[[str], bool],
        leases: Leases,
        store: StateStore,
        steady: Callable[[], float],
        me: str,
    ) -> None:
        self.looked = threading.Event()
        self.policies: frozenset[str] = frozenset()
        self.is_mine: Callable[[], bool] = lambda: True
        self.has_stalled: Callable[[], bool] = lambda: False
        self.place = place
        self._covers = covers
        self._leases = leases
        self._store = store
        self._steady = steady
        self._view = View(me)
        self._problem: str | None = None
        self._inherited = ""
        self._term = self._pass_term = 0
        self._writing = threading.Lock()
        self._is_leaving = self._is_stopping = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease {place.name}", daemon=True)

    @property
    def holder(self) -> str:
        """Who held it when it was last looked at; "" for nobody."""
        return self._view.lease.holder if self._view.lease is not None else ""

    @property
    def is_held(self) -> bool:
        """Whether this daemon holds it, and is not about to hand it over."""
        return self._view.is_held and not self._is_leaving

    def start(self) -> None:
        """Seek the Lease from now on."""
        self._thread.start()

    def hand_over(self) -> None:
        """Lead no more, and let another daemon have it; call it only if no write is under way."""
        self._is_leaving = True
        self.wake()

    def wake(self) -> None:
        """Look at it, or renew it, at once."""
        self._wake.set()

    def stop(self) -> None:
        """Give it back, some time soon."""
        self._is_stopping = True
        self.wake()

    def join(self) -> None:
        """Wait until it was given back."""
        self._thread.join()

    def begin_pass(
        self, set_clock: Callable[[], None] = lambda: None, *, busy: bool = False
    ) -> LeadershipStatus:
        """How things are; in a new term the pass begins with what the last holder knew.

        busy: whether a write of an earlier pass is under way, which must not go on in a new term.
        """
        status, term = self.status(), self._term
        set_clock()
        if busy and term != self._pass_term:
            words = f"Lease {self.place} was lost for a while, and a write has not ended since"
            return LeadershipStatus(False, words)
        if term != self._pass_term:
            self._store.recall(self._covers, self._inherited)
            self._pass_term = term
        return status

    def status(self) -> LeadershipStatus:
        """Whether this daemon acts, stands by, or is kept from both."""
        view, name = self._view, f"Lease {self.place}"
        if self._is_leaving:
            return LeadershipStatus(False, f"standby: handing {name} over", is_standby=True)
        if rules.may_act(view, self._steady()):
            return LeadershipStatus(True, f"leading: {view.me} holds {name}")
        if self._problem is not None:
            return LeadershipStatus(False, self._problem)
        if view.is_held:
            return LeadershipStatus(False, f"{name} was not renewed in time")
        holder = visible((view.lease and view.lease.holder) or "nobody", LONGEST_NAME)
        evaluated = view.lease and view.lease.evaluated
        detail = f"standby: {holder} holds {name}"
        return LeadershipStatus(False, detail, is_standby=True, evaluated=evaluated)

    def confirm(self) -> None:
        """Raises LeaseError unless this daemon may act, by the term in which the pass began."""
        status = self.status()
        if not status.is_leader:
            raise LeaseError(f"nothing more was changed: {status.detail}")
        if self._term != self._pass_term:
            raise LeaseError("nothing more was changed: another daemon led for a while")

    def commit(self) -> None:
        """See a write succeed that begins from now on. Raises AutoscalerError if none does."""
        asked = self._steady()
        with self._writing:
            renewed_at = self._view.renewed_at
            if renewed_at is not None and renewed_at <= asked:
                self._claim()
        self.confirm()

    def attempt(self) -> None:
        """Look at the Lease, get it or keep it, as far as that is right now. Raises nothing."""
        with self._writing:
            try:
                if not self._view.is_held:
                    self._look()
                if self.has_stalled():
                    raise LeaseError(self._hung())
                if (self._view.is_held or self.is_mine()) and self._may_claim():
                    self._claim()
            except ConflictError:
                pass  # looked at again, and known for what it is
            except AutoscalerError as error:
                self._problem = str(error)
                return
            except Exception as error:  # a defect must not end the loop
                self._problem = f"internal error (a bug, please report it): {error!r}"
                return
            self._problem = None

    def _may_claim(self) -> bool:
        return rules.may_claim(self._view, self._steady())

    def _hung(self) -> str:
        words = (
            f"Lease {self.place} is not renewed: "
            f"the reconcile pass has made no progress for {HUNG_AFTER:g} s"
        )
        if self._problem != words:
            LOG.error("%s", words)
        return words

    def _run(self) -> None:
        while not self._is_stopping:
            self._wake.clear()
            if self._is_leaving:
                self._release()
                self._is_leaving = False
            self.attempt()
            self.looked.set()
            failed = self._problem is not None
            self._wake.wait(rules.pause(self._view, self._steady(), failed=failed))
        self._release()

    def _look(self) -> None:
        found = self._leases.read(self.place)
        self._view = rules.saw(self._view, found, self._steady())

    def _claim(self) -> None:
        """Write the Lease as ours. Raises what keeps it from being written."""
        view, began = self._view, self._steady()
        last = view.lease or Lease()
        state = self._text() if view.is_held else last.state
        try:
            wanted, taken = rules.claim(view, state, self.policies), last.holder != view.me
            lease = self._leases.write(self.place, wanted, taken=taken)
        except (ConflictError, TargetNotFoundError):
            self._look()
            raise
        if not view.is_held:
            self._inherited = state
            self._term += 1
        self._view = rules.wrote(view, lease, began)

    def _text(self) -> str:
        """What the next holder is to know; the last one's words until a pass took them over."""
        if self._term != self._pass_term:
            return self._inherited
        return self._store.text(self._covers)

    def _release(self) -> None:
        """Stop acting, then let the next one."""
        with self._writing:
            view, self._view = self._view, replace(self._view, renewed_at=None)
            if not view.is_held:
                return
            given = rules.claim(view, self._text())._replace(holder="")
            try:
                self._leases.write(self.place, given, taken=False)
            except AutoscalerError as error:
                words = f"could not release Lease {self.place}; it will expire after"
                LOG.warning("%s %gs: %s", words, rules.DURATION, error)
