"""JSON as tables: one object per line, lists of objects, and Panel's `session_info`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from autoscaler.adapters.traces.opening import Progress, open_text
from autoscaler.adapters.traces.problems import TraceError
from autoscaler.adapters.traces.tables import LONGEST_LINE, Row, Table

# Characters of a whole document, which takes ten times as much memory; lines have no such limit.
MAX_DOCUMENT = 50_000_000
# Objects of which the keys are the columns, as later ones may have other keys.
HEADER_FROM = 100
# Lines in which to look for a second object.
BLANK_LINES = 10
_JSON = re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:\{\s*["}]|\[\s*[]\[{"\d-])')
_EXPECTED = "expected a list of objects, one object per line, or Panel's session_info"


def looks_like_json(beginning: bytes) -> bool:
    """Return whether a file begins as JSON; a line of a log may begin with a bracket too."""
    return _JSON.match(beginning) is not None


def json_table(path: Path, progress: Progress) -> Table:
    """Return the table of a JSON file. Raises TraceError, also while its rows are read."""
    with open_text(path, lambda _: None) as text:
        first = text.readline(LONGEST_LINE)
        more = any(text.readline(LONGEST_LINE).strip() for _ in range(BLANK_LINES))
    if more and isinstance(_parsed(first), Mapping):
        return _table_of_lines(path, progress)
    with open_text(path, progress) as text:
        content = text.read(MAX_DOCUMENT + 1)
    if len(content) > MAX_DOCUMENT:
        raise TraceError(f"{path}: JSON of more than 50 MB; save it with one object per line")
    try:
        document = from_json(content.encode(errors="replace"), cache_strings="all")
    except ValueError as error:
        raise TraceError(f"{path}: invalid JSON: {error}") from None
    records = _records(document)
    if records is None:
        raise TraceError(f"{path}: {_EXPECTED}")
    header = _keys(records[:HEADER_FROM])
    cells = ((number, _cells(record, header)) for number, record in enumerate(records, 1))
    rows = tuple(cells)
    return Table(path, header, lambda: iter(rows), 0, numbered=True)


def _table_of_lines(path: Path, progress: Progress) -> Table:
    def records(progress: Progress) -> Iterator[tuple[int, Mapping[str, Any]]]:
        with open_text(path, progress) as text:
            number = 0
            while line := text.readline(LONGEST_LINE):
                number += 1
                if line.strip():
                    record = _parsed(line)
                    yield number, record if isinstance(record, Mapping) else {}

    first = [
        record for (_, record), _ in zip(records(lambda _: None), range(HEADER_FROM), strict=False)
    ]
    header = _keys(first)

    def rows() -> Iterator[Row]:
        for number, record in records(progress):
            yield number, _cells(record, header)

    return Table(path, header, rows)


def _parsed(line: str) -> Any:
    try:
        return from_json(line.encode(errors="replace"))
    except ValueError:
        return None


def _records(document: Any) -> list[Mapping[str, Any]] | None:
    """Return the objects of a document, or None if it has none in a known place."""
    if isinstance(document, Mapping):
        document = document.get("session_info", document)
    if not isinstance(document, Mapping):
        lists = [document]
    elif isinstance(sessions := document.get("sessions"), Mapping):
        lists = [_of_panel(sessions)]
    else:
        lists = [each for each in document.values() if isinstance(each, list)] or [[document]]
    if len(lists) != 1 or not isinstance(lists[0], list):
        return None
    return [each if isinstance(each, Mapping) else {} for each in lists[0]]


def _of_panel(sessions: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the sessions of `session_info`, which take a seat from their launch on."""
    values = [each for each in sessions.values() if isinstance(each, Mapping)]
    return [
        {"start": each.get("launched") or each.get("started"), "end": each.get("ended")}
        for each in values
    ]


def _keys(records: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(key) for record in records for key in record))


def _cells(record: Mapping[str, Any], header: Sequence[str]) -> list[str]:
    return ["" if (value := record.get(key)) is None else str(value) for key in header]
