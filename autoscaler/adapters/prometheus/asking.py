"""Run many queries concurrently, so that a slow answer delays only the policies that need it.

A pass waits only a short time. A query that takes longer continues in the background, and the next
pass gets its answer; until then the previous answer is used while it is fresh. Slow queries run in
threads of their own, so that they never block fast ones. A query that is new, or that has become
slow, is not known to be slow: it is stopped after a short trial and runs again in those threads.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from autoscaler.errors import MetricsError

# Seconds after which an unused query is forgotten.
FORGOTTEN_AFTER = 600.0
# The trial of a query, as a fraction of the patience: with 8 threads, 20 slow ones of one policy
# leave time for a fast one within the patience.
TRIAL = 0.2

Parse = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Waiting times of the caller in seconds.

    first: for a query without any earlier answer. patience: for a fast query. deadline: the longest
    time for an answer. fresh_for: age up to which an answer is used while the next one is missing.
    """

    first: float
    patience: float
    deadline: float
    fresh_for: float


@dataclass(slots=True)
class _Question:
    """The state of a query; times are of the monotonic clock."""

    wanted_at: float = 0.0
    took: float | None = None
    answer: Any = None
    answer_at: float | None = None
    error: MetricsError | None = None
    settled: threading.Event = field(default_factory=threading.Event)
    in_flight: bool = False
    failed_trial: bool = False

    def is_slow(self, patience: float) -> bool:
        return self.took is not None and self.took > patience


class Asker:
    """Runs queries in the background, each at most once at a time.

    ask: runs a query and returns what `read` makes of the answer, within so many seconds or, if
    None, within the deadline; raises MetricsError. at_once: the number of concurrent fast queries,
    and of slow ones. Of the fast queries the fastest begin first, and then new ones in the given
    order. late: makes the error for a query that has no answer yet.
    """

    def __init__(
        self,
        ask: Callable[[str, Parse, float | None], Any],
        waiting: Waiting,
        *,
        at_once: tuple[int, int],
        late: Callable[[str], MetricsError] = MetricsError,
    ) -> None:
        self._ask = ask
        self._late = late
        self._waiting = waiting
        self._lock = threading.Lock()
        self._questions: dict[str, _Question] = {}
        self._quick, self._slow = map(_Lane, at_once)

    def begin(self, wanted: Mapping[str, Parse]) -> Callable[[], dict[str, Any]]:
        """Start the queries, and return a function that waits for their answers.

        wanted: by query, the function that parses its answer. The returned function waits at most
        for the longest waiting time of these queries, and returns the parsed answer or a
        MetricsError for each. Never raises.
        """
        now = time.monotonic()
        with self._lock:
            self._forget(now)
            asked = {text: self._want(text, read, now) for text, read in wanted.items()}

        def answers() -> dict[str, Any]:
            for question, until in sorted(asked.values(), key=lambda each: each[1]):
                question.settled.wait(max(0.0, until - time.monotonic()))
            with self._lock:
                return {text: self._outcome(each, now) for text, (each, _) in asked.items()}

        return answers

    def _want(self, text: str, read: Parse, now: float) -> tuple[_Question, float]:
        """Start a query, unless it is still running, and return until when to wait for it."""
        question = self._questions.setdefault(text, _Question())
        until = now + self._patience_with(question, now)
        question.wanted_at = now
        if not question.in_flight:
            question.in_flight, question.failed_trial = True, False
            question.settled.clear()
            if question.is_slow(self._waiting.patience):
                self._slow.submit(lambda: self._run(text, question, read))
            else:
                limit, new = self._trial(question), TRIAL * self._waiting.patience
                expected = new if question.took is None else question.took
                self._quick.submit(lambda: self._run(text, question, read, limit), expected)
        return question, until

    def _trial(self, question: _Question) -> float | None:
        """Return the seconds after which the query leaves the fast ones; None: at the deadline.

        A query that usually takes long, but not too long, may take twice that time.
        """
        patience = self._waiting.patience
        if patience >= self._waiting.deadline:
            return None
        return min(patience, max(TRIAL * patience, 2 * (question.took or 0.0)))

    def _patience_with(self, question: _Question, now: float) -> float:
        waiting = self._waiting
        if question.failed_trial and question.in_flight:
            return 0.0
        if question.took is None:
            return waiting.first
        if not question.is_slow(waiting.patience):
            return waiting.patience
        if question.error is not None or self._is_fresh(question, now):
            return 0.0
        # Its policy decides so rarely that no earlier answer is fresh, so wait as long as needed.
        return min(waiting.deadline, 2 * question.took)

    def _run(self, text: str, question: _Question, read: Parse, trial: float | None = None) -> None:
        """Run the query. One that fails its trial runs again among the slow ones."""
        began = time.monotonic()
        answer, error = None, None
        try:
            answer = self._ask(text, read, trial)
        except MetricsError as problem:
            error = problem
        except Exception as problem:  # an unexpected answer must not stop the others
            error = MetricsError(f"unusable answer: {problem!r}")
        took = time.monotonic() - began
        if error is not None and trial is not None and took >= trial:
            question.failed_trial = True
            self._slow.submit(lambda: self._run(text, question, read))
            return
        with self._lock:
            question.took, question.error = took, error
            if error is None:
                question.answer, question.answer_at = answer, began
            question.in_flight = False
            question.settled.set()

    def _outcome(self, question: _Question, asked: float) -> Any:
        if question.error is not None:
            return question.error
        if self._is_fresh(question, asked):
            return question.answer
        waited = time.monotonic() - asked
        return self._late(f"no answer within {waited:.1f} s; the next pass checks again")

    def _is_fresh(self, question: _Question, now: float) -> bool:
        return (
            question.answer_at is not None and now - question.answer_at <= self._waiting.fresh_for
        )

    def _forget(self, now: float) -> None:
        kept = self._questions.items()
        self._questions = {
            text: each
            for text, each in kept
            if each.in_flight or now - each.wanted_at <= FORGOTTEN_AFTER
        }


class _Lane:
    """Threads that run submitted work; there are none while it is idle.

    Work with the smallest expected time runs first, and otherwise in order.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._running = 0

    def submit(self, work: Callable[[], None], expected: float = 0.0) -> None:
        with self._lock:
            heappush(self._waiting, (expected, next(self._numbers), work))
            if self._running == self._size:
                return
            self._running += 1
        # Daemon threads do not keep the process from ending.
        threading.Thread(target=self._work, name="asking", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                _, _, work = heappop(self._waiting)
            work()
