"""Parquet files as tables, read by DuckDB in batches: its extra `parquet` is optional."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from autoscaler.adapters.traces.opening import Progress
from autoscaler.adapters.traces.problems import TraceError
from autoscaler.adapters.traces.tables import Row, Table
from autoscaler.errors import install_hint

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MAGIC = b"PAR1"
BATCH = 10_000
MEMORY = "500MB"
_ISO = "'%Y-%m-%dT%H:%M:%S.%f'"
# How a column is written as text, by its type; others, such as lists, are empty.
_TEXTS = {
    "TIMESTAMP WITH TIME ZONE": f"strftime(make_timestamp(epoch_us({{0}})), {_ISO}) || 'Z'",
    **dict.fromkeys(
        ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"),
        f"strftime({{0}}::TIMESTAMP, {_ISO})",
    ),
}
_PLAIN = re.compile(
    r"VARCHAR|DATE|TIME|INTERVAL|BOOLEAN|UUID|DOUBLE|FLOAT|U?\w*INT|U?INTEGER|(DECIMAL|ENUM)\(.*\)"
)


def parquet_table(path: Path, progress: Progress) -> Table:
    """Return the table of a Parquet file. Raises TraceError, also while its rows are read."""
    with _connected(path) as (connection, file):
        described = connection.execute("DESCRIBE FROM read_parquet(?)", [file]).fetchall()
        counted = connection.execute("SELECT count(*) FROM read_parquet(?)", [file]).fetchall()
    names = [str(name) for name, *_ in described]
    texts = ", ".join(_text(str(name), str(kind)) for name, kind, *_ in described)
    count = max(1, counted[0][0])

    def rows() -> Iterator[Row]:
        with _connected(path) as (connection, file):
            found = connection.execute(f"SELECT {texts} FROM read_parquet(?)", [file])  # noqa: S608
            number = 0
            while batch := found.fetchmany(BATCH):
                for number, cells in enumerate(batch, number + 1):  # noqa: B020
                    yield number, ["" if cell is None else cell for cell in cells]
                progress(number / count)

    return Table(path, names, rows, 0, numbered=True)


def _text(name: str, kind: str) -> str:
    """Return the SQL for a column as text. The name is data of the file, so it is quoted."""
    column = '"' + name.replace('"', '""') + '"'
    if kind in _TEXTS:
        return _TEXTS[kind].format(column)
    if _PLAIN.fullmatch(kind):
        return f"CAST({column} AS VARCHAR)"
    return "''"


@contextmanager
def _connected(path: Path) -> Iterator[tuple[DuckDBPyConnection, str]]:
    """Return a connection, and a name of the open file in which no character is a pattern."""
    try:
        import duckdb
    except ModuleNotFoundError:
        raise TraceError(
            f"{path}: Parquet needs a package; {install_hint('parquet')}, or export the table as "
            "CSV"
        ) from None
    options: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY,
        "threads": 1,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    with path.open("rb") as file:
        name = f"/dev/fd/{file.fileno()}"
        try:
            with duckdb.connect(":memory:", config=options) as connection:
                yield connection, name
        except duckdb.Error as error:
            reason = str(error).split("\n", 1)[0].replace(name, path.name)
            raise TraceError(f"{path}: cannot read the Parquet file: {reason}") from None
