"""Which daemon acts: a Lease in each namespace, each kept by a thread of its own.

A thread for each, so that a namespace whose Lease cannot be had holds no other one up. What one
may conclude from what it saw is in `core.lease`; here are the requests, one at a time.
"""

from __future__ import annotations

import logging
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Protocol

from autoscaler.control.state_store import StateStore
from autoscaler.core import lease as rules
from autoscaler.core.lease import Lease, View
from autoscaler.errors import AutoscalerError, ConflictError, LeaseError, TargetNotFoundError
from autoscaler.policy import Policy
from autoscaler.ports import LeadershipStatus
from exporter.texts import LONGEST_NAME, visible

LOG = logging.getLogger("autoscaler")
# A pass waits for the first word of a namespace: two requests, and a little.
FIRST_WORD_WITHIN = 2 * rules.LONGEST_WRITE + 1.0
# A pass that neither ends nor may write anything for so long has hung: another daemon shall lead.
HUNG_AFTER = 30.0


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


def label(policy: Policy) -> str:
    """A policy and its Deployment as a Lease names them: dashboards/bokeh-app.

    Two teams may both have a policy `app`; with the Deployment they are told apart.
    """
    return f"{policy.name}/{policy.target.deployment}"


class NoLeadership:
    """Implements `ports.Leadership` where there is one daemon only: it acts everywhere."""

    def seek(
        self, wanted: Mapping[str, frozenset[str]], set_clock: Callable[[], None]
    ) -> Mapping[str, LeadershipStatus]:
        """No namespace needs it."""
        return {}

    def confirm(self, namespace: str) -> None:
        """Always."""

    def commit(self, namespace: str) -> None:
        """There is nobody to tell."""

    def release(self) -> None:
        """There is nothing to give back."""

    def watched(self) -> AbstractContextManager[None]:
        """Nobody could take over from a pass that hangs."""
        return nullcontext()


class LeaseLeadership:
    """Implements `ports.Leadership` by Leases. steady: a clock that is never set, in seconds."""

    def __init__(self, leases: Leases, store: StateStore, steady: Callable[[], float]) -> None:
        self._leases = leases
        self._store = store
        self._steady = steady
        self._me = identity()
        self._tenures: dict[str, NamespaceLease] = {}
        self._progress_at: float | None = None  # None: no pass is under way, and the last one ended

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
        self, wanted: Mapping[str, frozenset[str]], set_clock: Callable[[], None]
    ) -> Mapping[str, LeadershipStatus]:
        """Where this daemon may act in the pass that begins; waits for a first word on new ones."""
        for namespace in self._tenures.keys() - wanted.keys():
            self._tenures.pop(namespace).stop()
        new = wanted.keys() - self._tenures.keys()
        for namespace in new:
            tenure = NamespaceLease(namespace, self._leases, self._store, self._steady, self._me)
            tenure.has_stalled = self.has_stalled
            self._tenures[namespace] = tenure
        for namespace, policies in wanted.items():
            self._tenures[namespace].policies = policies
        for namespace in new:
            self._tenures[namespace].start()
        for namespace in new:
            self._tenures[namespace].looked.wait(FIRST_WORD_WITHIN)
        return {
            namespace: tenure.begin_pass(set_clock) for namespace, tenure in self._tenures.items()
        }

    def confirm(self, namespace: str) -> None:
        """Raises LeaseError unless the last renewal is young and of the pass's own term."""
        self._tenures[namespace].confirm()
        self._progress()

    def commit(self, namespace: str) -> None:
        """Renew the Lease with what is remembered now. Raises AutoscalerError if that fails."""
        self._tenures[namespace].commit()
        self._progress()

    def release(self) -> None:
        """Give all Leases back, so that others need not wait until they run out."""
        for tenure in self._tenures.values():
            tenure.stop()
        for tenure in self._tenures.values():
            tenure.join()

    def _progress(self) -> None:
        if self._progress_at is not None:
            self._progress_at = self._steady()


class NamespaceLease:
    """The Lease of one namespace: sought, renewed and given back.

    policies: those that this daemon evaluates here while it leads, as the Lease tells others.
    has_stalled: whether the pass under way hangs; the Lease then runs out by itself.
    """

    def __init__(
        self,
        namespace: str,
        leases: Leases,
        store: StateStore,
        steady: Callable[[], float],
        me: str,
    ) -> None:
        self.looked = threading.Event()
        self.policies: frozenset[str] = frozenset()
        self.has_stalled: Callable[[], bool] = lambda: False
        self._namespace = namespace
        self._leases = leases
        self._store = store
        self._steady = steady
        self._view = View(me)
        self._problem: str | None = None
        self._inherited = ""
        self._term = self._pass_term = 0
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

    def begin_pass(self, set_clock: Callable[[], None] = lambda: None) -> LeadershipStatus:
        """How things are; in a new term the pass begins with what the last holder knew."""
        status, term = self.status(), self._term
        set_clock()
        if term != self._pass_term:
            self._store.recall(self._namespace, self._inherited)
            self._pass_term = term
        return status

    def status(self) -> LeadershipStatus:
        """Whether this daemon acts, stands by, or is kept from both."""
        view, name = self._view, f"Lease {self._namespace}/{self._leases.name}"
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
                if rules.may_claim(self._view, self._steady()):
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

    def _hung(self) -> str:
        words = (
            f"Lease {self._namespace}/{self._leases.name} is not renewed: "
            f"the reconcile pass has made no progress for {HUNG_AFTER:g} s"
        )
        if self._problem != words:
            LOG.error("%s", words)
        return words

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
        state = self._text() if view.is_held else last.state
        try:
            wanted, taken = rules.claim(view, state, self.policies), last.holder != view.me
            lease = self._leases.write(self._namespace, wanted, taken=taken)
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
        return self._store.text(self._namespace)

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
                LOG.warning("could not release the Lease; it will expire after 15s: %s", error)
