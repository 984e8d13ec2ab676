"""All points in this process, once for all of its users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from big_data import shards
from big_data.filters import is_number
from big_data.view import Span, View, X, Y, filtered

Column = np.ndarray | pd.Categorical

BLOCK = 8_192  # rows, neighbours in the plane where the shards are sorted by place


class Memory:
    """Columns of float32 and of categories, and the rectangle that each block of rows lies in."""

    def __init__(self, folder: Path) -> None:
        """Read all shards. Raises Problem."""
        found = shards.stamps(folder)
        self.schema = shards.schema(found)
        self._columns = _read([stamp.path for stamp in found], self.schema)
        self.rows = len(self._columns[X])
        starts = np.arange(0, self.rows, BLOCK)
        self._low = {a: np.minimum.reduceat(self._columns[a], starts) for a in (X, Y)}
        self._high = {a: np.maximum.reduceat(self._columns[a], starts) for a in (X, Y)}
        self.extent = self._extent(X), self._extent(Y)

    def frame(self, view: View) -> pd.DataFrame:
        """The blocks that reach into the view, with what the filter lets through."""
        near = self._near(X, view.x) & self._near(Y, view.y)
        # Beyond half of all, looking at every point is faster than copying those in the view.
        runs = list(_runs(near)) if near.mean() < 0.5 else [slice(None)]
        columns = {name: self._take(name, runs) for name in view.columns()}
        return filtered(pd.DataFrame(columns, copy=False), view)

    def reading(self) -> AbstractContextManager[None]:
        """Nothing can go wrong in memory."""
        return nullcontext()

    def _extent(self, axis: str) -> Span:
        return float(self._low[axis].min()), float(self._high[axis].max())

    def _near(self, axis: str, span: Span) -> np.ndarray:
        return (self._high[axis] >= span[0]) & (self._low[axis] <= span[1])

    def _take(self, name: str, runs: list[slice]) -> Column:
        """Without a copy where one run is all there is."""
        column = self._columns[name]
        if isinstance(column, pd.Categorical):
            codes = _joined(column.codes, runs)
            return pd.Categorical.from_codes(codes, dtype=column.dtype, validate=False)
        return _joined(column, runs)


def _read(files: Sequence[Path], schema: pa.Schema) -> dict[str, Column]:
    """Shard after shard into the columns' final place: at no time are there two copies."""
    sizes = [shards.rows(file) for file in files]
    numbers = {f.name: np.empty(sum(sizes), np.float32) for f in schema if is_number(f.type)}
    texts: dict[str, list[pa.Array]] = {f.name: [] for f in schema if not is_number(f.type)}
    for file, size, end in zip(files, sizes, accumulate(sizes), strict=True):
        with shards.whole(file):
            table = pq.read_table(file)
        for name, column in numbers.items():
            column[end - size : end] = table[name]
        for name, chunks in texts.items():
            chunks.extend(table[name].chunks)
    return numbers | {name: _categories(chunks) for name, chunks in texts.items()}


def _categories(chunks: Sequence[pa.Array]) -> pd.Categorical:
    return pd.Categorical(pa.chunked_array(chunks).unify_dictionaries().to_pandas())


def _runs(blocks: np.ndarray) -> Iterator[slice]:
    """The rows of the chosen blocks, neighbours together."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], blocks, [False]]).astype(np.int8)))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        yield slice(first * BLOCK, last * BLOCK)


def _joined(column: np.ndarray, runs: list[slice]) -> np.ndarray:
    parts = [column[run] for run in runs]
    return parts[0] if len(parts) == 1 else np.concatenate(parts or [column[:0]])
