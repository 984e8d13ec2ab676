"""Keeps this daemon in the list of those that run, by a thread of its own.

The list is the state of one more Lease, which nobody holds. What it says is in `core.membership`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from autoscaler.control.shard_lease import LOG, Leases
from autoscaler.core import membership as rules
from autoscaler.core.lease import Lease, Place
from autoscaler.core.membership import Member, Members
from autoscaler.errors import AutoscalerError, ConflictError, LeaseError, TargetNotFoundError
from autoscaler.ports import LeadershipStatus
from exporter.texts import LONGEST_NAME, visible


class Membership:
    """This daemon's place in the list.

    on_change: called when other daemons share the shards. has_stalled: whether the pass under way
    hangs; then the others shall not count on this daemon. is_brief: whether it makes one pass only;
    then it joins only if no other daemon runs, for none shall give up a shard for it.
    """

    def __init__(
        self,
        leases: Leases,
        steady: Callable[[], float],
        me: str,
        shards: int,
        *,
        is_brief: bool = False,
    ) -> None:
        self.looked = threading.Event()
        self.on_change: Callable[[], None] = lambda: None
        self.has_stalled: Callable[[], bool] = lambda: False
        self._place = Place(leases.namespace, f"{leases.name}-daemons")
        self._leases = leases
        self._steady = steady
        self._view = Members(me, shards)
        self._is_brief = is_brief
        self._first_look: float | None = None
        self._problem: str | None = None
        self._writing = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease daemons", daemon=True)

    def start(self) -> None:
        """Join the list, and stay in it."""
        self._thread.start()

    def leave(self) -> None:
        """Leave the list, so that nobody counts on this daemon. Raises nothing."""
        self._stopping.set()
        self._thread.join()

    def sharing(self) -> tuple[str, ...]:
        """Return the daemons among which the shards are shared."""
        return rules.sharing(self._view, self._steady())

    def status(self) -> LeadershipStatus | None:
        """Return why this daemon may not act anywhere, or None."""
        view = self._view
        if rules.may_act(view, self._steady()):
            return None
        if self._problem is not None:
            return LeadershipStatus(False, self._problem)
        if self._is_brief and not rules.is_alone(view, self._steady()):
            names = (member.name for member in view.listed if member.name != view.me)
            name = visible(next(names), LONGEST_NAME)
            words = f"standby: {name} runs, and a single pass does not take part"
            return LeadershipStatus(False, words, is_standby=True)
        other = rules.others(view)
        if other is None:
            return LeadershipStatus(False, f"Lease {self._place} was not renewed in time")
        name = visible(other.name, LONGEST_NAME)
        words = f"standby: {name} runs with --shards {other.shards}, and this daemon with"
        return LeadershipStatus(False, f"{words} {view.shards}", is_standby=True)

    def confirm(self) -> None:
        """Raise LeaseError unless this daemon may act."""
        status = self.status()
        if status is not None:
            raise LeaseError(f"nothing more was changed: {status.detail}")

    def attempt(self) -> None:
        """Read the list, and write this daemon's next beat if it is due. Raises nothing."""
        before = self.sharing()
        with self._writing:
            try:
                self._look()
                if self._may_beat() and not self.has_stalled():
                    self._beat()
                self._problem = None
            except ConflictError:
                pass  # another daemon wrote at the same moment
            except TargetNotFoundError as error:
                if not self._view.version:  # nothing to be deleted meanwhile: no such namespace
                    self._problem = str(error)
            except AutoscalerError as error:
                self._problem = str(error)
            except Exception as error:  # a defect must not end the loop
                self._problem = f"internal error (a bug, please report it): {error!r}"
        if self.sharing() != before:
            self.on_change()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.attempt()
            if not self._is_waiting():
                self.looked.set()
            failed = self._problem is not None
            self._stopping.wait(rules.pause(self._view, self._steady(), failed=failed))
        self._leave()

    def _may_beat(self) -> bool:
        view, now = self._view, self._steady()
        may_join = not self._is_brief or view.renewed_at is not None or rules.is_alone(view, now)
        return may_join and rules.is_due(view, now)

    def _is_waiting(self) -> bool:
        """Whether it is not known yet if those in the list run."""
        view, began = self._view, self._first_look
        if not self._is_brief or view.renewed_at is not None or self._problem is not None:
            return False
        return began is None or all(at <= began for at in view.heard.values())

    def _look(self) -> None:
        found = self._leases.read(self._place) or Lease()
        now = self._steady()
        self._first_look = now if self._first_look is None else self._first_look
        self._view = rules.saw(self._view, found.state, found.version, now)

    def _beat(self) -> None:
        began = self._steady()
        listed = rules.beat(self._view, began)
        version = self._write(listed)
        self._view = rules.wrote(self._view, listed, version, began)

    def _leave(self) -> None:
        with self._writing:
            try:
                self._look()
                if any(member.name == self._view.me for member in self._view.listed):
                    self._write(rules.without_me(self._view))
            except AutoscalerError as error:
                LOG.warning("could not leave the list in Lease %s: %s", self._place, error)
            self._view = replace(self._view, renewed_at=None)

    def _write(self, listed: tuple[Member, ...]) -> str:
        lease = Lease(version=self._view.version, state=rules.to_text(listed))
        return self._leases.write(self._place, lease, taken=False).version
