"""Writes each decision into a journal, in a thread of its own; what fails there stops nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from autoscaler.control.pass_result import Outcome, PassResult
from autoscaler.core.journal import Encoder, Entry, lasting
from autoscaler.model import State
from autoscaler.reporting.outbox import Outbox

LOG = logging.getLogger("autoscaler")
# Passes that wait for the disk; each of them holds all of its observations in memory.
MOST_WAITING = 30


class JournalFile(Protocol):
    """Where the lines go."""

    def begin(self) -> bool:
        """Return whether the next line is the first one of a file. Raises OSError."""

    def append(self, *lines: str) -> None:
        """Write lines. Raises OSError."""


class Journal:
    """A `Recorder` that writes decisions and what they were made of.

    An error ends it for good: a disk that is full for a moment would leave gaps, and say nothing.
    writer: a name of this process that no other one has.
    """

    def __init__(self, file: JournalFile, writer: str) -> None:
        self._file, self._writer = file, writer
        self._encoder = Encoder()
        self._outbox = Outbox("passes of the journal", "the disk", MOST_WAITING)
        self._has_gap = False
        self.is_writing = True

    def record(self, result: PassResult) -> None:
        """Write the decisions of a pass soon."""
        decided = [entry for outcome in result.outcomes for entry in self._entry(outcome)]
        if decided and self.is_writing:
            write = partial(self._write, decided, has_gap=self._has_gap)
            self._has_gap = not self._outbox.put(write)

    def settle(self, within: float) -> None:
        """Wait until everything is written, at most so many seconds."""
        self._outbox.settle(within)

    def _entry(self, outcome: Outcome) -> Sequence[tuple[Entry, State]]:
        decided = outcome.decided
        if decided is None:
            return ()
        problem = outcome.problem or ""
        if not problem and outcome.decision is not None and outcome.decision != decided.decision:
            problem = outcome.decision.detail  # what a last look at the sidecars found
        entry = Entry(
            self._writer,
            decided.at,
            outcome.policy,
            decided.observed,
            decided.before,
            lasting(decided.decision),
            outcome.changed,
            len(outcome.marked),
            problem,
        )
        return [(entry, decided.after)]

    def _write(self, decided: Sequence[tuple[Entry, State]], *, has_gap: bool) -> None:
        if not self.is_writing:
            return
        try:
            if self._file.begin() or has_gap:
                self._encoder.forget()
            self._file.append(*(self._encoder.line(entry, after) for entry, after in decided))
        except OSError as error:
            self.is_writing = False
            words = "cannot write %s: %s; the journal ends here, and scaling goes on"
            LOG.warning(words, self._file, error.strerror)
        except Exception:
            self.is_writing = False
            raise
