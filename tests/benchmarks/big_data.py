"""How soon the example for big data shows something: `python -m tests.benchmarks.big_data`.

The real app and service, and a real browser on the same machine: from asking for the page to its
first picture, and from a turn of the wheel to the next. The points are made once, into the cache.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from tests.benchmarks.figure import Figure, median_seconds
from tests.big_data.sight import Sight, sight
from tests.lab import big_data_servers as servers
from tests.lab import browser
from tests.lab.big_data_environment import ENVIRONMENT
from tests.lab.big_data_servers import Service
from tests.lab.bokeh_servers import Served
from tests.lab.live_big_data import POINTS, made

FIRST_VIEW, ZOOM = 2.0, 0.3  # seconds, for up to POINTS points
VISITS, TURNS = 5, 8
REST = 3.0  # seconds, until a browser that has just been started is done with itself
# Where the wheel is turned, in shares of the plot from its upper left corner, and what is filtered.
ZOOMS = {
    "the bulge": ((0.5, 0.5), ""),
    "an arm": ((0.35, 0.35), ""),
    "the rim": ((0.1, 0.5), ""),
    "an arm, filtered by two columns": ((0.35, 0.35), "kind=G,K&brightness=6.."),
}


def measure(points: int = POINTS, turns: int = TURNS) -> Iterator[Figure]:
    """All figures for so many points; none where something is missing for it, which is said.

    turns: of the wheel at each place; and the most visits after the first one.
    """
    for there, how in ((ENVIRONMENT.python(), ENVIRONMENT.how), (browser.driver(), browser.HOW)):
        if not there:
            print(f"big data: something is missing for this: {how}", file=sys.stderr)
            return
    python, folder = ENVIRONMENT.python(), made(points)
    began = time.perf_counter()
    with servers.app(python, folder) as app:
        yield Figure("start of the app until it is ready", time.perf_counter() - began, "s")
        yield from _seen(app, turns, points <= POINTS)
        memory = app.value("bokeh_memory_rss_bytes") / 1e6
        yield Figure("memory of the app's process", memory, "MB")
    with servers.service(python, folder) as service:
        yield from _served(service)


def _seen(app: Served, turns: int, in_goal: bool) -> Iterator[Figure]:
    first, zoom = (FIRST_VIEW, ZOOM) if in_goal else (None, None)
    slowest = 0.0
    with sight() as page:
        time.sleep(REST)
        yield Figure("first view, nothing in the browser's cache", page.open(app.url), "s", first)
        visits = [page.open(app.url) for _ in range(min(VISITS, turns))]
        yield Figure("first view, later visits", statistics.median(visits), "s", first)
        for where, (place, filters) in ZOOMS.items():
            page.open(app.url)
            if filters:
                page.type(filters)
            times = [_turn(page, *place) for _ in range(turns)]
            slowest = max(slowest, *times)
            yield Figure(f"zoom into {where}", statistics.median(times), "s", zoom)
    yield Figure("the slowest of these zooms", slowest, "s", zoom)


def _turn(page: Sight, x: float, y: float) -> float:
    """From a page at rest."""
    time.sleep(1)
    return page.zoom(x, y)


def _served(service: Service) -> Iterator[Figure]:
    """Pages of rows as a client would ask for them."""
    corner = {"x": "9000..9100", "y": "6000..6100"}
    tag = service.get("/points", **corner).headers["etag"]
    asked: dict[str, Callable[[], object]] = {
        "a page of 1,000 rows": lambda: service.get("/points"),
        "rows of 100 by 100 light years": lambda: service.get("/points", **corner),
        "the same, not modified": lambda: service.get("/points", {"If-None-Match": tag}, **corner),
        "100,000 rows as Arrow": lambda: service.get(
            "/points", {"Accept": "application/vnd.apache.arrow.stream"}, limit="100000"
        ),
    }
    for what, ask in asked.items():
        yield Figure(what, 1e3 * median_seconds(ask, rounds=7), "ms")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.big_data", description=__doc__)
    parser.add_argument("--points", type=int, default=POINTS, metavar="N")
    parser.add_argument("--turns", type=int, default=TURNS, metavar="N", help="at each place")
    options = parser.parse_args(arguments)
    print(f"{f'with {options.points:,} points':<58}{'median':>12}{'goal':>12}")
    for figure in measure(options.points, options.turns):
        print(figure.line(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
