"""Carries policies out side by side, so that no policy waits for the write of another one."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from autoscaler.control.pass_result import Outcome
from autoscaler.model import TargetRef
from autoscaler.policy import Policy

# Writes that may be under way at the same time.
PARALLEL_CHANGES = 8
# Those of namespaces where writes are slow, so that these do not take the threads of all others.
SLOW_CHANGES = 4
# A pass that only waits for answers ends after so many seconds.
PATIENCE = 1.0
# One in which answers come, but slowly, ends after so many times that.
LONGEST = 5.0


class Changes:
    """Runs the work of policies in a constant number of threads.

    patience: seconds without any progress after which a pass waits no more, and it never
    waits longer than LONGEST times that; None: it waits for all.
    A policy whose work has not ended is skipped until a later pass tells how it ended; work that
    has not begun by then is dropped, for the next pass decides anew, and comes first in that one.
    """

    def __init__(self, patience: float | None) -> None:
        self._patience = patience
        self._pool = ThreadPoolExecutor(PARALLEL_CHANGES, "change")
        self._slow_pool = ThreadPoolExecutor(SLOW_CHANGES, "slow change")
        self._slow: set[str] = set()
        self._begun: dict[TargetRef, Future[Outcome]] = {}
        self._late: set[TargetRef] = set()
        self._dropped: dict[TargetRef, None] = {}

    def are_under_way(self, ref: TargetRef) -> bool:
        """Whether work for the target has begun of which no pass has told yet."""
        return ref in self._begun

    def namespaces(self) -> set[str]:
        """Return where a write may be under way."""
        return {ref.namespace for ref, change in self._begun.items() if not change.done()}

    def in_turn(self, policies: Sequence[Policy]) -> Sequence[Policy]:
        """Return the policies with those first whose work was dropped, the longest ago first."""
        places = {ref: place for place, ref in enumerate(self._dropped)}
        last = len(places)
        return sorted(policies, key=lambda policy: places.get(policy.target.ref, last))

    def begin(self, policy: Policy, work: Callable[[], Outcome]) -> None:
        """Do the work for a policy as soon as a thread is free."""
        ref = policy.target.ref
        pool = self._slow_pool if ref.namespace in self._slow else self._pool
        self._begun[ref] = pool.submit(work)

    def ended(self, policies: Sequence[Policy]) -> tuple[Outcome, ...]:
        """Wait, and return what has ended, in the order of the policies."""
        left = {change for change in self._begun.values() if not change.done()}
        began = time.monotonic()
        while left:
            done, left = wait(left, self._patience, FIRST_COMPLETED)
            if not done or self._has_waited_for_long(began):
                break
        told = {ref: change for ref, change in self._begun.items() if change.done()}
        self._sort_out(told)
        refs = (policy.target.ref for policy in policies)
        return tuple(told[ref].result() for ref in refs if ref in told)

    def forget_all_but(self, refs: set[TargetRef]) -> None:
        """Drop targets whose policies were removed; work that has begun goes on."""
        self._dropped = {ref: None for ref in self._dropped if ref in refs}

    def _sort_out(self, told: Collection[TargetRef]) -> None:
        """Keep what is under way, drop what has not begun, and note where writes are slow."""
        left = {ref: change for ref, change in self._begun.items() if ref not in told}
        dropped = {ref for ref, change in left.items() if change.cancel()}
        self._begun = {ref: change for ref, change in left.items() if ref not in dropped}
        waiting = self._dropped | {ref: None for ref in left if ref in dropped}
        self._dropped = {ref: None for ref in waiting if ref not in told}
        in_time = {ref.namespace for ref in told if ref not in self._late}
        self._late = set(self._begun)
        self._slow = (self._slow - in_time) | {ref.namespace for ref in self._late}

    def _has_waited_for_long(self, began: float) -> bool:
        patience = self._patience
        return patience is not None and time.monotonic() - began >= patience * LONGEST

    def settle(self) -> None:
        """Wait until no work is under way; none may follow."""
        self._pool.shutdown()
        self._slow_pool.shutdown()
