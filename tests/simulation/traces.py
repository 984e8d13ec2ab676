"""Trace files for tests: written, read, and refused."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from autoscaler.adapters.traces.files import ReadingOptions, load_trace
from autoscaler.adapters.traces.problems import TraceError
from autoscaler.simulation.trace import Trace

MORNING = 1_768_206_600.0  # 2026-01-12T08:30:00Z


def write(folder: Path, content: str | bytes, name: str = "sessions.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, **options: Any) -> Trace:
    return load_trace(path, ReadingOptions(**options))


def problem(path: Path, **options: Any) -> str:
    """The error for a file that is refused, with F in place of its name."""
    with pytest.raises(TraceError) as caught:
        read(path, **options)
    return str(caught.value).replace(str(path), "F")


def minutes(trace: Trace) -> list[tuple[float, float]]:
    """Start and end of each session, in minutes after 8:30 of 2026-01-12."""
    return [((start - MORNING) / 60, (end - MORNING) / 60) for start, end in trace.sessions]


def some_days(path: Path, days: int = 5) -> Path:
    """Write so many days of 100 visits of half an hour each, around noon."""
    random, monday = Random(1), 1_768_176_000
    starts = [
        round(monday + 86_400 * day + random.gauss(43_200, 7_200))
        for day in range(days)
        for _ in range(100)
    ]
    path.write_text("start,end\n" + "".join(f"{at},{at + 1_800}\n" for at in starts))
    return path
