"""How soon the example for big data shows something: `python -m tests.benchmarks.big_data`.

The real app and service with so many points, seen by a real browser on the same machine: from asking
for the page to its first picture, and from a turn of the wheel to the next. The service's rows and
the memory of both beside it. The points are made once and kept in the cache.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests import browser
from tests.benchmarks.figure import Figure, resident_megabytes
from tests.big_data import servers
from tests.big_data.environment import ENVIRONMENT, HOW
from tests.big_data.servers import Service
from tests.big_data.sight import sight
from tests.cluster.go import cache
from tests.exporter.servers import Served

FIRST_VIEW, ZOOM = 2.0, 0.3  # seconds; the goals, for 10 million points
VISITS, TURNS = 5, 6
# Where the wheel is turned, in shares of the plot: the bulge, an arm, the rim.
PLACES = ((0.5, 0.5), (0.4, 0.3), (0.1, 0.5))


def measure(points: int) -> Iterator[Figure]:
    """All figures; the goals hold for up to 10 million points."""
    python, folder = ENVIRONMENT.python(), _points(points)
    held = points <= 10_000_000
    began = time.perf_counter()
    with servers.app(python, folder) as app:
        yield Figure("start: imports, points, compiled loops", time.perf_counter() - began, "s")
        yield from _seen(app.url, held)
        yield Figure("app, RSS", _memory(app), "MB")
    with servers.service(python, folder) as service:
        yield from _served(service)


def _points(points: int) -> Path:
    folder = cache() / f"points-{points}"
    made = servers.make(ENVIRONMENT.python(), folder, "--points", str(points))
    if made.returncode:
        raise SystemExit(made.stderr)
    return folder


def _seen(url: str, held: bool) -> Iterator[Figure]:
    with sight() as page:
        first = page.open(url)
        yield Figure("first view, a browser that has nothing yet", first, "s", FIRST_VIEW * held or None)
        again = statistics.median(page.open(url) for _ in range(VISITS))
        yield Figure(f"first view, median of {VISITS} more", again, "s", FIRST_VIEW * held or None)
        for place in PLACES:
            page.open(url)
            yield from _zooms(page, place, held)


def _zooms(page, place, held):
    times = [page.zoom(*place) for _ in range(TURNS)]
    yield Figure("zoom", statistics.median(times), "s", ZOOM)
