"""Journals as files: appended to and rotated by size, and read entry by entry."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from autoscaler.adapters.traces.opening import reading, unpacked
from autoscaler.adapters.traces.problems import TraceError
from autoscaler.core.journal import Decoder, Entry, LineError, OrphanError

# A target of 1,000 pods has lines of half a megabyte.
LONGEST_LINE = 32 << 20
MOST_PROBLEMS = 20
INCOMPLETE = (
    "the line is incomplete, because the daemon was killed or the disk was full, and is skipped"
)


class RotatingFile:
    """Appends to FILE. When that is full, it becomes FILE.1, FILE.1 becomes FILE.2, and so on.

    size: bytes from which a file is full. files: how many are kept, with FILE.
    """

    def __init__(self, path: Path, size: int, files: int) -> None:
        self._path, self._size, self._files = path, size, files
        self._file = -1

    def __str__(self) -> str:
        return str(self._path)

    def begin(self) -> bool:
        """Open the file, or the next one if it is full; return whether one was opened.

        Raises OSError. A file of an earlier process is continued, on a line of its own.
        """
        if self._file >= 0 and os.fstat(self._file).st_size < self._size:
            return False
        self.close()
        with suppress(FileNotFoundError):
            if self._path.stat().st_size >= self._size:
                self._rotate()
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            self._end_last_line()
        except OSError:
            self.close()
            raise
        return True

    def _end_last_line(self) -> None:
        length = os.fstat(self._file).st_size
        if length and os.pread(self._file, 1, length - 1) != b"\n":
            self.append("")

    def append(self, *lines: str) -> None:
        """Write lines. Raises OSError; then the last of them may be written in part."""
        rest = memoryview("".join(f"{line}\n" for line in lines).encode())
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def close(self) -> None:
        """Close the file, if one is open."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _rotate(self) -> None:
        for number in range(self._files - 1, 0, -1):
            older, newer = self._numbered(number), self._numbered(number - 1)
            with suppress(FileNotFoundError):
                newer.replace(older)
        if self._files == 1:
            self._path.unlink()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


@dataclass
class JournalFiles:
    """The entries of several files in the order of their beginnings, and what is damaged in them.

    progress: called with the share that was read. problems: one line each, with file and line.
    """

    paths: Iterable[Path]
    progress: Callable[[float], None] = lambda _: None
    problems: list[str] = field(default_factory=list)

    def entries(self) -> Iterator[Entry]:
        """Return the entries, again with each call; `problems` is complete after the last one."""
        self.problems.clear()
        files = sorted(dict.fromkeys(self.paths), key=_begins_at)
        total = sum(map(_size, files)) or 1
        done = 0
        for path in files:
            for entry, offset in self._read(path):
                yield entry
                self.progress((done + offset) / total)
            done += _size(path)

    def _read(self, path: Path) -> Iterator[tuple[Entry, int]]:
        decoder, orphans, problems = Decoder(), _Orphans(), list[str]()
        try:
            with path.open("rb") as file, reading(path):
                content = unpacked(file)
                for number, line in enumerate(iter(lambda: content.readline(LONGEST_LINE), b""), 1):
                    try:
                        yield decoder.entry(line), file.tell()
                    except OrphanError as error:
                        orphans.add(number, error)
                    except LineError as error:
                        why = error if line.endswith(b"\n") else INCOMPLETE
                        problems.append(f"{path}:{number}: {why}")
        except OSError as error:
            problems.append(f"{path}: {error.strerror}, expected a journal")
        except TraceError as error:
            problems.append(str(error))
        problems += [f"{path}:{words}" for words in orphans.told()]
        if len(problems) > MOST_PROBLEMS:
            more = len(problems) - MOST_PROBLEMS
            problems[MOST_PROBLEMS:] = [f"{path}: {more:,} more lines cannot be read"]
        self.problems += problems


@dataclass
class _Orphans:
    """Lines that leave out what a missing line had: told together, for they are many."""

    first: int = 0
    lines: int = 0
    why: str = ""

    def add(self, number: int, error: OrphanError) -> None:
        self.first, self.lines, self.why = self.first or number, self.lines + 1, str(error)

    def told(self) -> list[str]:
        more = f" (and so do {self.lines - 1:,} more lines)" if self.lines > 1 else ""
        return [f"{self.first}: {self.why}{more}"] if self.lines else []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _begins_at(path: Path) -> float:
    """Return the time of the first line, by which the files of one journal are in order."""
    try:
        with path.open("rb") as file, reading(path):
            return float(json.loads(unpacked(file).readline(LONGEST_LINE))["at"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError, TraceError):
        return 0.0
