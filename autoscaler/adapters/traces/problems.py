"""The rows of a trace that cannot be used: how many there are, and why the first three cannot."""

from __future__ import annotations

from collections.abc import Callable

from autoscaler.errors import AutoscalerError

# Largest share of unusable rows; a file with more of them was probably misunderstood.
LARGEST_SHARE = 0.01
SHOWN = 3
LONGEST_CELL = 40


class TraceError(AutoscalerError):
    """A trace that cannot be used; the message has at most four lines, each with its file."""


class Problems:
    """Counts the rows of a file, and those of them that cannot be used.

    place: returns file and line, for messages. noun: what is numbered, lines or rows.
    """

    def __init__(self, name: str, place: Callable[[int], str], noun: str = "line") -> None:
        self.rows = 0
        self._name, self._place, self._noun = name, place, noun
        self._count = 0
        self._first: list[tuple[int, str]] = []

    def add(self, line: int, reason: str) -> None:
        """Record a row that cannot be used."""
        self._count += 1
        if len(self._first) < SHOWN:
            self._first.append((line, reason))

    def check(self) -> None:
        """Raise TraceError if more than 1 % of the rows cannot be used."""
        if self._count <= LARGEST_SHARE * self.rows:
            return
        lines = [f"{self._place(line)}: {reason}" for line, reason in self._first]
        if self.rows > 1:
            lines.append(f"{self._name}: {self._share()}, expected at most 1 %")
        raise TraceError("\n".join(lines))

    def note(self) -> str:
        """Return how many rows were not used and why, or "" if all were used."""
        if not self._count:
            return ""
        reasons = "; ".join(f"{self._noun} {line}: {reason}" for line, reason in self._first)
        more = "; and others" if self._count > len(self._first) else ""
        return f"{self._share()} and left out ({reasons}{more})."

    def _share(self) -> str:
        verb = "is" if self._count == 1 else "are"
        percent = 100.0 * self._count / self.rows
        shown = f"{float(f'{percent:.2g}'):g}"  # two digits, and 100 in place of 1e+02
        return f"{self._count:,} of {self.rows:,} rows {verb} unusable ({shown} %)"


def quoted(cell: str) -> str:
    """Return a cell in quotes, shortened for a message."""
    return repr(cell if len(cell) <= LONGEST_CELL else f"{cell[:LONGEST_CELL]}…")
