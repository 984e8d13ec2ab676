"""How fast the daemon writes: a token bucket for all writes of its passes.

A write that gets no token is not queued: its policy holds, and the next pass decides anew. So
nothing that was decided long ago is ever written, and no policy waits for another one's write.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import NamedTuple

from autoscaler.errors import ThrottledError
from autoscaler.model import TargetRef
from autoscaler.policy import Policy

# Writes that may be made at once after a quiet time, in seconds of the rate.
BURST = 2.0
# The share of the burst that is left for scale-ups, because users wait for them.
RESERVED = 0.5


class Turn(NamedTuple):
    """A target that had to wait. can_wait: no user waits for it."""

    can_wait: bool
    since: float


LAST = Turn(True, inf)


class WritePace:
    """Threads may share it. rate: writes per second. steady: a clock that is never set."""

    def __init__(self, rate: float, steady: Callable[[], float]) -> None:
        self._rate = rate
        self._steady = steady
        self._most = max(1.0, rate * BURST)
        self._tokens, self._at = self._most, steady()
        self._waiting: dict[TargetRef, Turn] = {}
        self._lock = threading.Lock()

    def take(self, ref: TargetRef, *, urgent: bool) -> None:
        """Allow one write for a target, now. Raises ThrottledError if it has to wait.

        urgent: whether users wait for it.
        """
        with self._lock:
            now = self._steady()
            self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
            self._at = now
            kept = 0.0 if urgent else self._most * RESERVED
            if self._tokens - kept < min(1.0, self._most - kept):
                since = self._waiting[ref].since if ref in self._waiting else now
                self._waiting[ref] = Turn(not urgent, since)
                words = f"more than {self._rate:g} writes a second are due (--writes-per-second)"
                raise ThrottledError(f"waiting for the next pass: {words}")
            self._tokens -= 1.0
            self._waiting.pop(ref, None)

    def in_turn(self, policies: Iterable[Policy]) -> Sequence[Policy]:
        """Return the policies in the order in which they may write.

        Those that had to wait come first, scale-ups before scale-downs and then the longest first;
        and one of each namespace comes before the second one of any.
        """
        waiting = dict(self._waiting)
        places: Counter[tuple[bool, bool, str]] = Counter()
        turns: dict[str, tuple[bool, bool, int, float]] = {}
        found = sorted(policies, key=lambda policy: waiting.get(policy.target.ref, LAST))
        for policy in found:
            ref = policy.target.ref
            turn = waiting.get(ref, LAST)
            is_new = ref not in waiting
            group = (is_new, turn.can_wait, ref.namespace)
            turns[policy.name] = (is_new, turn.can_wait, places[group], turn.since)
            places[group] += 1
        return sorted(found, key=lambda policy: turns[policy.name])

    def forget_all_but(self, refs: set[TargetRef]) -> None:
        """Drop targets whose policies were removed."""
        with self._lock:
            self._waiting = {ref: at for ref, at in self._waiting.items() if ref in refs}
