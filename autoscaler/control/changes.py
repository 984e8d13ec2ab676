"""Carries policies out side by side, so that no policy waits for the write of another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from autoscaler.control.pass_result import Outcome
from autoscaler.model import TargetRef
from autoscaler.policy import Policy

# Writes that may be under way at the same time.
PARALLEL_CHANGES = 8
# A pass that only waits for answers ends after so many seconds.
PATIENCE = 1.0


class Changes:
    """Runs the work of policies in a constant number of threads.

    patience: seconds without any progress after which a pass waits no more; None: it waits for all.
    A policy whose work has not ended is skipped until a later pass tells how it ended; work that
    has not begun by then is dropped, for the next pass decides anew.
    """

    def __init__(self, patience: float | None) -> None:
        self._patience = patience
        self._pool = ThreadPoolExecutor(PARALLEL_CHANGES, "change")
        self._begun: dict[TargetRef, Future[Outcome]] = {}

    def are_under_way(self, ref: TargetRef) -> bool:
        """Whether work for the target has begun of which no pass has told yet."""
        return ref in self._begun

    def namespaces(self) -> set[str]:
        """Return where a write may be under way."""
        return {ref.namespace for ref, change in self._begun.items() if not change.done()}

    def begin(self, policy: Policy, work: Callable[[], Outcome]) -> None:
        """Do the work for a policy as soon as a thread is free."""
        self._begun[policy.target.ref] = self._pool.submit(work)

    def ended(self, policies: Sequence[Policy]) -> tuple[Outcome, ...]:
        """Wait, and return what has ended, in the order of the policies."""
        left = {change for change in self._begun.values() if not change.done()}
        while left:
            done, left = wait(left, self._patience, FIRST_COMPLETED)
            if not done:
                break
        outcomes: list[Outcome] = []
        for policy in policies:
            change = self._begun.get(policy.target.ref)
            if change is not None and change.done():
                outcomes.append(change.result())
        self._begun = {
            ref: change
            for ref, change in self._begun.items()
            if not change.done() and not change.cancel()
        }
        return tuple(outcomes)

    def settle(self) -> None:
        """Wait until no work is under way; none may follow."""
        self._pool.shutdown()
