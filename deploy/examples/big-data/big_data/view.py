"""What somebody looks at: a rectangle of the plane, in so many pixels, through a filter."""

from __future__ import annotations

import functools
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

    def drawn(self) -> tuple[str, ...]:
        """The columns that make the picture."""
        return (X, Y, self.measure) if self.measure else (X, Y)

    def columns(self) -> tuple[str, ...]:
        """Those that have to be read for it."""
        conditions = (condition.column for condition in self.conditions)
        return tuple(dict.fromkeys([*self.drawn(), *conditions]))


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


def filtered(frame: pd.DataFrame, view: View) -> pd.DataFrame:
    """What is drawn of the rows that the filter lets through."""
    if not view.conditions:
        return frame
    masks = (condition.mask(frame) for condition in view.conditions)
    rows = np.flatnonzero(functools.reduce(lambda a, b: a & b, masks))
    return pd.DataFrame({name: frame[name].to_numpy()[rows] for name in view.drawn()}, copy=False)
