"""Which daemon acts: a Lease in each namespace, each kept by a thread of its own.

A thread for each, so that a namespace whose Lease cannot be had holds no other one up. What one
may conclude from what it saw is in `core.lease`; here are the requests, one at a time.
"""

from __future__ import annotations

import logging
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from autoscaler.core import lease as rules
from autoscaler.core.lease import Lease, View
from autoscaler.errors import AutoscalerError, ConflictError, LeaseError, TargetNotFoundError
from autoscaler.memory import Memory
from autoscaler.ports import Standing

LOG = logging.getLogger("autoscaler")
# A pass waits for the first word of a namespace: two requests, and a little.
FIRST_WORD_WITHIN = 2 * rules.LONGEST_WRITE + 1.0


class Leases(Protocol):
    """Where the Leases are. Every call is over within `core.lease.LONGEST_WRITE`."""

    name: str

    def read(self, namespace: str) -> Lease | None:
        """The Lease; None: there is none. Raises ForbiddenError or ClusterError."""

    def write(self, namespace: str, lease: Lease, *, taken: bool) -> Lease:
        """Write it in place of the version in it, or create it; taken: from another holder.

        Raises ConflictError if that is no longer the newest version, TargetNotFoundError if it is
        gone, ForbiddenError or ClusterError.
        """


def identity() -> str:
    """A name of this process that no other one has had, even in the same pod."""
    return f"{socket.gethostname()[:200]}_{secrets.token_hex(4)}"


class NoLeadership:
    """Implements `ports.Leadership` where there is one daemon only: it acts everywhere."""

    def seek(self, namespaces: Iterable[str]) -> Mapping[str, Standing]:
        """No namespace needs it."""
        return {}

    def confirm(self, namespace: str) -> None:
        """Always."""

    def commit(self, namespace: str) -> None:
        """There is nobody to tell."""

    def release(self) -> None:
        """There is nothing to give back."""


class LeaseLeadership:
    """Implements `ports.Leadership` by Leases. steady: a clock that is never set, in seconds."""

    def __init__(self, leases: Leases, memory: Memory, steady: Callable[[], float]) -> None:
        self._leases = leases
        self._memory = memory
        self._steady = steady
        self._me = identity()
        self._tenures: dict[str, Tenure] = {}

    def seek(self, namespaces: Iterable[str]) -> Mapping[str, Standing]:
        """Where this daemon may act in the pass that begins; waits for a first word on new ones."""
        wanted = set(namespaces)
        for namespace in self._tenures.keys() - wanted:
            self._tenures.pop(namespace).stop()
        new = wanted - self._tenures.keys()
        for namespace in new:
            tenure = Tenure(namespace, self._leases, self._memory, self._steady, self._me)
            self._tenures[namespace] = tenure
            tenure.start()
        for namespace in new:
            self._tenures[namespace].looked.wait(FIRST_WORD_WITHIN)
        return {namespace: tenure.begin_pass() for namespace, tenure in self._tenures.items()}

    def confirm(self, namespace: str) -> None:
        """Raises LeaseError unless the last renewal is young and of the pass's own term."""
        self._tenures[namespace].confirm()

    def commit(self, namespace: str) -> None:
        """Renew the Lease with what is remembered now. Raises AutoscalerError if that fails."""
        self._tenures[namespace].commit()

    def release(self) -> None:
        """Give all Leases back, so that others need not wait until they run out."""
        for tenure in self._tenures.values():
            tenure.stop()
        for tenure in self._tenures.values():
            tenure.join()


class Tenure:
    """The Lease of one namespace: sought, renewed and given back."""

    def __init__(
        self,
        namespace: str,
        leases: Leases,
        memory: Memory,
        steady: Callable[[], float],
        me: str,
    ) -> None:
        self.looked = threading.Event()
        self._namespace = namespace
        self._leases = leases
        self._memory = memory
        self._steady = steady
        self._view = View(me)
        self._problem: str | None = None
        self._inherited = ""
        self._term = self._term_of_pass = 0
        self._writing = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease {namespace}", daemon=True)

    def start(self) -> None:
        """Seek the Lease from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Give it back, some time soon."""
        self._stopping.set()

    def join(self) -> None:
        """Wait until it was given back."""
        self._thread.join()

    def begin_pass(self) -> Standing:
        """How things are; in a new term the pass begins with what the last holder knew."""
        standing, term = self.standing(), self._term
        if term != self._term_of_pass:
            self._memory.recall(self._namespace, self._inherited)
            self._term_of_pass = term
        return standing

    def standing(self) -> Standing:
        """Whether this daemon acts, stands by, or is kept from both."""
        view, name = self._view, f"Lease {self._namespace}/{self._leases.name}"
        if rules.may_act(view, self._steady()):
            return Standing(True, f"leading: {view.me} holds {name}")
        if self._problem is not None:
            return Standing(False, self._problem)
        if view.is_held:
            return Standing(False, f"{name} was not renewed in time")
        holder = (view.lease and view.lease.holder) or "nobody"
        return Standing(False, f"standing by: {holder} holds {name}", stands_by=True)

    def confirm(self) -> None:
        """Raises LeaseError unless this daemon may act, by the term in which the pass began."""
        standing = self.standing()
        if not standing.leads:
            raise LeaseError(f"nothing more was changed: {standing.detail}")
        if self._term != self._term_of_pass:
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
                if rules.may_claim(self._view, self._steady()):
                    self._claim()
            except ConflictError:
                pass  # looked at again, and known for what it is
            except AutoscalerError as error:
                self._problem = str(error)
                return
            except Exception as error:  # a defect must not end the loop
                self._problem = f"internal error, nothing was changed: {error!r}"
                return
            self._problem = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.attempt()
            self.looked.set()
            failed = self._problem is not None
            self._stopping.wait(rules.pause(self._view, self._steady(), failed=failed))
        self._release()

    def _look(self) -> None:
        found = self._leases.read(self._namespace)
        self._view = rules.saw(self._view, found, self._steady())

    def _claim(self) -> None:
        """Write the Lease as ours. Raises what keeps it from being written."""
        view, began = self._view, self._steady()
        last = view.lease or Lease()
        memory = self._text() if view.is_held else last.memory
        try:
            wanted, taken = rules.claim(view, memory), last.holder != view.me
            lease = self._leases.write(self._namespace, wanted, taken=taken)
        except (ConflictError, TargetNotFoundError):
            self._look()
            raise
        if not view.is_held:
            self._inherited = memory
            self._term += 1
        self._view = rules.wrote(view, lease, began)

    def _text(self) -> str:
        """What the next holder is to know; the last one's words until a pass took them over."""
        if self._term != self._term_of_pass:
            return self._inherited
        return self._memory.text(self._namespace)

    def _release(self) -> None:
        """Stop acting, then let the next one."""
        with self._writing:
            view, self._view = self._view, replace(self._view, renewed_at=None)
            if not view.is_held:
                return
            given = rules.claim(view, self._text())._replace(holder="")
            try:
                self._leases.write(self._namespace, given, taken=False)
            except AutoscalerError as error:
                LOG.warning("a Lease was not given back and will run out: %s", error)
