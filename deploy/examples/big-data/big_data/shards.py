"""A folder of Parquet files with one schema, each of them a shard."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from big_data.filters import Condition
from big_data.problem import Problem

TAIL = 65_536  # bytes at a file's end that hold its footer: the statistics of every row group


class Stamp(NamedTuple):
    """A file as it is now: another size or time is another file."""

    path: Path
    size: int
    changed: int


class Place(NamedTuple):
    """Where a page begins: a shard, and how many of its matches came before."""

    shard: int = 0
    row: int = 0


@dataclass(frozen=True)
class Wanted:
    """Some columns of some rows of some shards; `limit` is in rows."""

    columns: tuple[str, ...]
    conditions: tuple[Condition, ...]
    files: tuple[Path, ...]
    limit: int


def stamps(folder: Path) -> tuple[Stamp, ...]:
    """The shards in the order of their names. Raises Problem where there are none."""
    found = sorted(folder.glob("*.parquet"))
    if not found:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"there are no points in {folder}: `python -m big_data.make {folder}` makes some",
        )
    return tuple(Stamp(file, (at := file.stat()).st_size, at.st_mtime_ns) for file in found)


@contextmanager
def whole(file: Path) -> Iterator[None]:
    """Says which file it was that could not be read. Raises Problem."""
    try:
        yield
    except (OSError, pa.ArrowException):
        raise Problem(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            f"{file.name} is cut short or no Parquet file: make or copy it again",
        ) from None


@functools.lru_cache(maxsize=4)
def schema(found: tuple[Stamp, ...]) -> pa.Schema:
    """Names and types of the columns, from the first shard. Raises Problem."""
    with whole(found[0].path):
        return pq.read_schema(found[0].path).remove_metadata()


@functools.lru_cache(maxsize=4)
def version(found: tuple[Stamp, ...]) -> str:
    """Changes with the content, and is the same on every machine that has the same files."""
    digest = hashlib.sha256()
    for stamp in found:
        with stamp.path.open("rb") as file:
            file.seek(max(0, stamp.size - TAIL))
            digest.update(f"{stamp.path.name} {stamp.size} ".encode() + file.read())
    return digest.hexdigest()


def rows(file: Path) -> int:
    """Raises Problem."""
    with whole(file):
        return int(pq.read_metadata(file).num_rows)


def page(wanted: Wanted, start: Place) -> tuple[pa.Table, Place | None]:
    """The rows from `start` on, and where the next page begins, if there is one. Raises Problem."""
    parts: list[pa.Table] = []
    left, place = wanted.limit, start
    while left and place.shard < len(wanted.files):
        part, more = _part(wanted, place, left)
        parts.append(part)
        left -= part.num_rows
        place = Place(place.shard, place.row + part.num_rows) if more else Place(place.shard + 1)
    table = pa.concat_tables(parts).unify_dictionaries()
    return table, place if place.shard < len(wanted.files) else None


def _part(wanted: Wanted, place: Place, limit: int) -> tuple[pa.Table, bool]:
    """At most `limit` matches of one shard, and whether it has more."""
    file = wanted.files[place.shard]
    with whole(file):
        scanner = pads.dataset(file, format="parquet").scanner(
            columns=list(wanted.columns), filter=_expression(wanted.conditions)
        )
        found = scanner.head(place.row + limit + 1)
    return found.slice(place.row, limit), found.num_rows > place.row + limit


def _expression(conditions: Sequence[Condition]) -> pads.Expression | None:
    expressions = [condition.expression() for condition in conditions]
    return functools.reduce(lambda a, b: a & b, expressions) if expressions else None
