"""How many rows of a recorded trace are read in a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from autoscaler.adapters.traces.files import load_trace
from tests.benchmarks.figure import Figure, median_seconds

ROWS = 100_000
LINE = "user{0},2026-01-12T{1:02}:{2:02}:00Z,2026-01-13T{1:02}:{2:02}:30Z"


def measure() -> Iterator[Figure]:
    with TemporaryDirectory() as folder:
        path = Path(folder, "sessions.csv")
        rows = (LINE.format(n % 999, n // 60 % 24, n % 60) for n in range(ROWS))
        path.write_text("user,start,end\n" + "\n".join(rows))
        seconds = median_seconds(lambda: load_trace(path), rounds=5)
        yield Figure(f"simulate: read {ROWS:,} rows of CSV", seconds, "s", 1.0)
