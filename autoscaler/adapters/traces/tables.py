"""Tables of text from CSV files: separators, quotes, comments and blank lines."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, TextIO

from autoscaler.adapters.traces.opening import Progress, open_text
from autoscaler.adapters.traces.problems import TraceError

SEPARATORS = (",", ";", "\t", "|")
LONGEST_LINE = 1 << 20
# Lines in which to look for the header, below titles and dates of a report.
HEADER_WITHIN = 20
Row = tuple[int, Sequence[str]]


@dataclass(frozen=True)
class Table:
    """The rows of a file, each with its number.

    header: the cells of the first row. rows: returns the other rows, again with each call.
    numbered: whether rows are counted, because the file has no lines. decimal_comma: whether
    numbers may be written as 12,5.
    """

    path: Path
    header: Sequence[str]
    rows: Callable[[], Iterator[Row]]
    header_line: int = 1
    numbered: bool = False
    decimal_comma: bool = False

    def place(self, line: int) -> str:
        """Return file and line, for messages."""
        if not line:
            return str(self.path)
        return f"{self.path}: row {line}" if self.numbered else f"{self.path}:{line}"


def csv_table(path: Path, fits: Callable[[Sequence[str]], bool], progress: Progress) -> Table:
    """Return the table of a CSV file. Raises TraceError, also while its rows are read.

    fits: whether a header has the columns of a trace; the separator is the first that gives one.
    """
    with open_text(path, lambda _: None) as text:
        header = _find_header(path, _Lines(path, text), fits)

    def rows() -> Iterator[Row]:
        with open_text(path, progress) as text:
            lines = _Lines(path, text)
            for _ in zip(range(header.skip), lines, strict=False):
                pass
            for row in _rows(lines, header.separator):
                if row[1] != header.cells:  # which a file that was put together repeats
                    yield row

    return Table(path, header.cells, rows, header.line, decimal_comma=header.separator != ",")


class _Header(NamedTuple):
    """The header of a file. skip: lines up to and with it, without comments."""

    cells: list[str]
    line: int
    separator: str
    skip: int


def _find_header(path: Path, lines: _Lines, fits: Callable[[Sequence[str]], bool]) -> _Header:
    """Return the first line with the columns of a trace, below titles or in a comment.

    If there is none, return the first line that is not blank. Raises TraceError for an empty file.
    """
    separators: tuple[str, ...] = SEPARATORS
    first: _Header | None = None
    for skip, line in enumerate(islice(lines, HEADER_WITHIN), 1):
        if line.lower().startswith("sep=") and line.strip()[4:] in SEPARATORS:
            separators = (line.strip()[4:],)
            continue
        if not line.strip():
            continue
        found = [_Header(_cells(path, line, sign), lines.number, sign, skip) for sign in separators]
        if fitting := [header for header in found if fits(header.cells)]:
            return fitting[0]
        first = first or max(found, key=lambda header: len(header.cells))
    if first is None:
        raise TraceError(f"{path}: empty, expected a header line such as start,end")
    for comment in lines.comments:  # as numpy writes it
        if fits(cells := _cells(path, comment.lstrip("# "), first.separator)):
            return _Header(cells, first.line, first.separator, first.skip - 1)
    return first


def with_header_as_row(table: Table) -> Table:
    """Return a table without a header, of which the first row has data already."""
    first = (table.header_line, table.header)
    return replace(table, rows=lambda: chain([first], table.rows()))


class _Lines:
    """The lines of a file without comments.

    number: of the line that was returned last. comments: the first of them.
    """

    def __init__(self, path: Path, text: TextIO) -> None:
        self.path, self.number = path, 0
        self.comments: list[str] = []
        self._text = text

    def __iter__(self) -> Iterator[str]:
        while line := self._text.readline(LONGEST_LINE):
            self.number += 1
            if len(line) == LONGEST_LINE and line[-1] not in "\r\n":
                raise TraceError(f"{self.path}:{self.number}: longer than 1 MB; this is no table")
            if not line.startswith("#"):
                yield line
            elif len(self.comments) < HEADER_WITHIN:
                self.comments.append(line)


def _rows(lines: _Lines, separator: str) -> Iterator[Row]:
    """Yield first line and cells of every row that is not blank. Raises TraceError."""
    began = 0

    def text() -> Iterator[str]:
        nonlocal began
        for line in lines:
            began = began or lines.number
            yield line
        if 0 < began < lines.number:
            raise TraceError(
                f"{lines.path}:{began}: a quote opens here and is not closed, expected another one"
            )

    reader = csv.reader(text(), delimiter=separator, skipinitialspace=separator != "\t")
    try:
        for row in reader:
            if any(row) and not "".join(row).isspace():
                yield began, row
            began = 0
    except csv.Error as error:
        raise TraceError(f"{lines.path}:{lines.number}: {error}, expected a table") from None


def _cells(path: Path, line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error as error:
        raise TraceError(f"{path}:1: {error}, expected a table") from None
