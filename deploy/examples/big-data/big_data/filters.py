"""Filters as people write them: `x=-500..500&brightness=2..&kind=G,K`.

A number's column takes a range, either end of which may be open; a text's takes the values wanted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from big_data.problem import bad_request

if TYPE_CHECKING:
    import pandas as pd  # which the service does without

LARGEST = 3.4e38  # of float32, which the points are stored in


@dataclass(frozen=True)
class Range:
    """Both ends are part of it."""

    column: str
    low: float = -LARGEST
    high: float = LARGEST

    def expression(self) -> pc.Expression:
        """For Parquet, which leaves out the row groups whose statistics exclude it."""
        field = pc.field(self.column)
        return (field >= self.low) & (field <= self.high)

    def text(self) -> str:
        """As people write it."""
        return f"{self.low}..{self.high}"

    def within(self, other: Range) -> Range:
        """What both let through. Raises Problem where that is nothing."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        if low > high:
            raise bad_request(f"the filter leaves no {self.column} of those in view")
        return Range(self.column, low, high)

    def mask(self, frame: pd.DataFrame) -> np.ndarray:
        """Which rows it lets through."""
        values = frame[self.column].to_numpy()
        if self.high == LARGEST:
            return values >= np.float32(self.low)
        if self.low == -LARGEST:
            return values <= np.float32(self.high)
        return (values >= np.float32(self.low)) & (values <= np.float32(self.high))


@dataclass(frozen=True)
class OneOf:
    """A text that is one of these."""

    column: str
    values: tuple[str, ...]

    def expression(self) -> pc.Expression:
        """For Parquet."""
        return pc.field(self.column).isin(list(self.values))

    def text(self) -> str:
        """As people write it."""
        return ",".join(self.values)

    def mask(self, frame: pd.DataFrame) -> np.ndarray:
        """Which rows it lets through: the few categories are compared, not the many rows."""
        column = frame[self.column].array
        wanted = np.isin(column.categories, self.values)
        return np.append(wanted, False)[column.codes]  # the code of nothing is -1


Condition = Range | OneOf


def parse_text(text: str, schema: pa.Schema) -> tuple[Condition, ...]:
    """The conditions of one line. Raises Problem."""
    words = [word.strip() for word in text.split("&") if word.strip()]
    for word in words:
        if "=" not in word:
            raise bad_request(f"{word!r} is no filter: write a column, = and a range or values")
    return parse(parse_qsl("&".join(words), keep_blank_values=True), schema)


def parse(pairs: Iterable[tuple[str, str]], schema: pa.Schema) -> tuple[Condition, ...]:
    """The conditions of a query string's pairs. Raises Problem."""
    found: dict[str, Condition] = {}
    for column, text in pairs:
        if column in found:
            raise bad_request(f"{column} is given twice: one range or one list of values is enough")
        found[column] = _condition(column, text.strip(), schema)
    return tuple(found.values())


def known_column(name: str, schema: pa.Schema) -> str:
    """The name, if there is such a column. Raises Problem."""
    if name not in schema.names:
        raise bad_request(f"there is no column {name!r}: there are {', '.join(schema.names)}")
    return name


def _condition(column: str, text: str, schema: pa.Schema) -> Condition:
    if is_number(schema.field(known_column(column, schema)).type):
        return _range(column, text)
    values = tuple(value.strip() for value in text.split(",") if value.strip())
    if not values:
        raise bad_request(f"{column} has no values: write them with commas, such as {column}=A,B")
    return OneOf(column, values)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column has ranges; the others have values."""
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _range(column: str, text: str) -> Range:
    first, dots, last = text.partition("..")
    if not dots or not (first or last):
        raise bad_request(
            f"{column}={text} is no range: write {column}=0..10, {column}=0.. or {column}=..10"
        )
    low = _bound(column, first, -LARGEST)
    high = _bound(column, last, LARGEST)
    if low > high:
        raise bad_request(f"{column}={text} is reversed: the lower bound comes first")
    return Range(column, low, high)


def _bound(column: str, text: str, if_open: float) -> float:
    if not text.strip():
        return if_open
    try:
        value = float(text)
    except ValueError:
        raise bad_request(f"the bound {text!r} of {column} is no number") from None
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise bad_request(f"the bound {text!r} of {column} is beyond {LARGEST:g}: leave it out")
    return value
