"""What somebody looks at: a rectangle of the plane, in so many pixels, through a filter."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from big_data.filters import Condition

X, Y = "x", "y"  # the columns that say where a point is
Span = tuple[float, float]


@dataclass(frozen=True)
class View:
    """`measure` is the column whose mean the colours show; without one they show how many."""

    x: Span
    y: Span
    width: int = 900
    height: int = 600
    measure: str = ""
    conditions: tuple[Condition, ...] = ()

    def columns(self) -> tuple[str, ...]:
        """Those that have to be read for it."""
        names = [X, Y, *filter(None, [self.measure]), *(each.column for each in self.conditions)]
        return tuple(dict.fromkeys(names))


class Source(Protocol):
    """Where the points are. Both ways to have them, `memory` and `cluster`, raise Problem."""

    schema: pa.Schema
    rows: int
    extent: tuple[Span, Span]

    def frame(self, view: View) -> Any:
        """A pandas or Dask frame with at least the points in the view."""
        ...

    def reading(self) -> AbstractContextManager[None]:
        """In which such a frame is to be worked through."""
        ...


def filtered(frame: pd.DataFrame, conditions: Sequence[Condition]) -> pd.DataFrame:
    """The frame with the other points moved to nowhere: that copies one column, not all of them."""
    if not conditions:
        return frame
    wanted = functools.reduce(lambda a, b: a & b, (each.mask(frame) for each in conditions))
    return frame.assign(**{X: np.where(wanted, frame[X].to_numpy(), np.float32("nan"))})
