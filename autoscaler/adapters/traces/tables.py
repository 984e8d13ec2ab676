"""Tables of text from CSV files: separators, quotes, comments and blank lines."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TextIO

from autoscaler.adapters.traces.opening import Progress, open_text
from autoscaler.adapters.traces.problems import TraceError

SEPARATORS = (",", ";", "\t", "|")
LONGEST_LINE = 1 << 20
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
        lines = _Lines(path, text)
        separator, first = _beginning(lines)
        if not first:
            raise TraceError(f"{path}: empty, expected a header line such as start,end")
    headers = {sign: _cells(path, first, sign) for sign in separator or SEPARATORS}
    fitting = [sign for sign, header in headers.items() if fits(header)]
    sign = fitting[0] if fitting else max(headers, key=lambda sign: len(headers[sign]))

    def rows() -> Iterator[Row]:
        with open_text(path, progress) as text:
            lines = _Lines(path, text)
            _beginning(lines)
            yield from _rows(lines, lines, sign)

    table = Table(path, headers[sign], rows, lines.number, decimal_comma=sign != ",")
    comment = _cells(path, lines.comment.lstrip("# "), sign)
    if not fitting and fits(comment):  # as numpy writes it
        return replace(with_header_as_row(table), header=comment)
    return table


def with_header_as_row(table: Table) -> Table:
    """Return a table without a header, of which the first row has data already."""
    first = (table.header_line, table.header)
    return replace(table, rows=lambda: chain([first], table.rows()))


class _Lines:
    """The lines of a file without comments.

    number: of the line that was returned last. comment: the last comment.
    """

    def __init__(self, path: Path, text: TextIO) -> None:
        self.path, self.number, self.comment = path, 0, ""
        self._text = text

    def __iter__(self) -> Iterator[str]:
        while line := self._text.readline(LONGEST_LINE):
            self.number += 1
            if len(line) == LONGEST_LINE and line[-1] not in "\r\n":
                raise TraceError(f"{self.path}:{self.number}: longer than 1 MB; this is no table")
            if line.startswith("#"):
                self.comment = line
            else:
                yield line


def _beginning(lines: _Lines) -> tuple[str, str]:
    """Return the separator that a line such as `sep=;` names, or "", and the header line."""
    separator = ""
    for line in lines:
        if line.lower().startswith("sep=") and line.strip()[4:] in SEPARATORS:
            separator = line.strip()[4:]
        elif line.strip():
            return separator, line
    return separator, ""


def _rows(lines: _Lines, source: Iterator[str] | _Lines, separator: str) -> Iterator[Row]:
    """Yield line number and cells of every row that is not blank. Raises TraceError."""
    reader = csv.reader(source, delimiter=separator, skipinitialspace=separator != "\t")
    try:
        for row in reader:
            if any(row) and not "".join(row).isspace():
                yield lines.number, row
    except csv.Error as error:
        raise TraceError(f"{lines.path}:{lines.number}: {error}, expected a table") from None


def _cells(path: Path, line: str, separator: str) -> Sequence[str]:
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error as error:
        raise TraceError(f"{path}:1: {error}, expected a table") from None
