"""Keeps daemons of versions before shards out of the namespaces in which this one leads.

Those versions had one Lease in each namespace with targets. Where there is one, this daemon waits
until its holder has released it or been silent for long enough, takes it, and keeps it as long as
it exists, for a rollout can be undone. None is made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from autoscaler.control.shard_lease import LOG, Leases
from autoscaler.control.state_store import StateStore
from autoscaler.core import lease as rules
from autoscaler.core.lease import GUARD_EVERY, GUARD_FOR, LONGEST_SILENCE, OLD_DURATION, Place, View
from autoscaler.errors import AutoscalerError, ConflictError, LeaseError, TargetNotFoundError
from autoscaler.ports import LeadershipStatus
from exporter.texts import LONGEST_NAME, visible

# What the name of a holder ends with that leads by a shard's Lease. A host has no such name.
MARK = "/shards"
AT_ONCE = 4
LOOK_EVERY = 2.0


@dataclass(slots=True)
class Guard:
    """What is known of one namespace's Lease. is_free: there is none."""

    place: Place
    view: View
    is_free: bool = False
    problem: str | None = None
    inherited: str = ""


class OldLeases:
    """Takes and keeps the Leases of earlier versions, with a constant number of threads."""

    def __init__(
        self, leases: Leases, store: StateStore, steady: Callable[[], float], me: str
    ) -> None:
        self._leases = leases
        self._store = store
        self._steady = steady
        self._me = me + MARK
        self._guards: dict[str, Guard] = {}
        self._looked = threading.Condition()
        self._wake = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="old leases", daemon=True)

    def start(self) -> None:
        """Keep the Leases of the namespaces that `seek` names from now on."""
        self._thread.start()

    def seek(self, namespaces: Collection[str], wait: float) -> None:
        """Keep the Leases of these namespaces alone, in which this daemon leads.

        wait: seconds to wait at most until each of them was looked at.
        """
        new = {
            each: Guard(Place(each, self._leases.name), View(self._me))
            for each in namespaces
            if each not in self._guards
        }
        self._guards = {**{n: g for n, g in self._guards.items() if n in namespaces}, **new}
        if new:
            self._wake.set()
            with self._looked:
                self._looked.wait_for(lambda: all(map(_was_seen, new.values())), wait)

    def begin_pass(self, namespace: str) -> LeadershipStatus | None:
        """Return why this daemon may not act in the namespace, or None.

        The pass begins with what the last holder of an earlier version knew.
        """
        guard = self._guards[namespace]
        if guard.inherited:
            self._store.inherit(namespace, guard.inherited)
            guard.inherited = ""
        return self.status(namespace)

    def status(self, namespace: str) -> LeadershipStatus | None:
        """Return why this daemon may not act in the namespace, or None."""
        guard = self._guards.get(namespace)
        if guard is None:
            return LeadershipStatus(False, "this daemon did not lead when the pass began")
        if guard.is_free or rules.may_act(guard.view, self._steady(), GUARD_FOR):
            return None
        if guard.problem is not None:
            return LeadershipStatus(False, guard.problem)
        lease = guard.view.lease
        if lease is None or guard.view.is_held:
            return LeadershipStatus(False, f"Lease {guard.place} was not read or renewed in time")
        holder = visible(lease.holder or "nobody", LONGEST_NAME)
        words = f"standby: {holder}, of an earlier version, holds Lease {guard.place}"
        return LeadershipStatus(False, words, is_standby=True)

    def confirm(self, namespace: str) -> None:
        """Raise LeaseError unless this daemon may act in the namespace."""
        status = self.status(namespace)
        if status is not None:
            raise LeaseError(f"nothing more was changed: {status.detail}")

    def attempt(self, guard: Guard) -> None:
        """Look at the Lease, take it or keep it, as far as that is right now. Raises nothing."""
        try:
            self._keep(guard)
            guard.problem = None
        except (ConflictError, TargetNotFoundError):
            pass  # it is looked at again
        except AutoscalerError as error:
            guard.problem = str(error)
        except Exception as error:  # a defect must not end the loop
            guard.problem = f"internal error (a bug, please report it): {error!r}"

    def stop(self) -> None:
        """Release all of them, so that an earlier version need not wait. Raises nothing."""
        self._is_stopping = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        with ThreadPoolExecutor(AT_ONCE, "old lease") as pool:
            while not self._is_stopping:
                self._wake.clear()
                for _ in pool.map(self.attempt, filter(self._is_due, [*self._guards.values()])):
                    pass
                with self._looked:
                    self._looked.notify_all()
                self._wake.wait(LOOK_EVERY)
            for _ in pool.map(self._release, [*self._guards.values()]):
                pass

    def _is_due(self, guard: Guard) -> bool:
        renewed_at = guard.view.renewed_at
        is_young = renewed_at is not None and self._steady() - renewed_at < GUARD_EVERY
        return not guard.is_free and not is_young

    def _keep(self, guard: Guard) -> None:
        if not guard.view.is_held and not self._look(guard):
            return
        lease, now = guard.view.lease, self._steady()
        is_newer = lease is not None and lease.holder.endswith(MARK)
        if is_newer or rules.may_claim(guard.view, now, OLD_DURATION):
            self._claim(guard, now)

    def _look(self, guard: Guard) -> bool:
        """Return whether there is a Lease."""
        found = self._leases.read(guard.place)
        guard.view = rules.saw(guard.view, found, self._steady())
        guard.is_free = found is None
        return found is not None

    def _claim(self, guard: Guard, began: float) -> None:
        """Write the Lease. Its state stays until this daemon has had the time to save it."""
        view = guard.view
        state = "" if view.is_held or view.lease is None else view.lease.state
        wanted = rules.claim(view, state)._replace(duration=LONGEST_SILENCE)
        try:
            lease = self._leases.write(guard.place, wanted, taken=not view.is_held)
        except (ConflictError, TargetNotFoundError):
            self._look(guard)
            raise
        if not view.is_held:
            guard.inherited = state
            LOG.info(
                "Lease %s of an earlier version is kept, so that none acts there; delete it once "
                "all daemons are updated",
                guard.place,
            )
        guard.view = rules.wrote(view, lease, began)

    def _release(self, guard: Guard) -> None:
        view, guard.view = guard.view, replace(guard.view, renewed_at=None)
        if not view.is_held:
            return
        state = view.lease.state if view.lease is not None else ""
        given = rules.claim(view, state)._replace(holder="")
        try:
            self._leases.write(guard.place, given, taken=False)
        except AutoscalerError as error:
            LOG.warning("could not release Lease %s: %s", guard.place, error)


def _was_seen(guard: Guard) -> bool:
    return guard.is_free or guard.problem is not None or guard.view.lease is not None
