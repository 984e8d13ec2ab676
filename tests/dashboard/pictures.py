"""The pictures of docs/dashboard.md: `python -m tests.dashboard.pictures` makes them anew.

The page is the real one, on a Prometheus with three hours of two pods, one of which drains.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.conftest import PROGRAMS
from tests.dashboard.scene import SCRAPE, Scene, history
from tests.dashboard.visits import PHONE, WIDE, visit
from tests.lab.browser import browser, picture
from tests.lab.prometheus_server import PrometheusServer

IMAGES = Path(__file__).parents[2] / "docs" / "images"
# Names of the files, the width of the window, and how many pixels of the page are in the picture.
PICTURES = (("dashboard", WIDE, 1_900), ("dashboard-phone", PHONE, 1_200))


def main() -> None:
    find, how = PROGRAMS["current"]
    program = find()
    if program is None:
        raise SystemExit(f"no Prometheus: {how}")
    with (
        tempfile.TemporaryDirectory() as folder,
        PrometheusServer(program, Path(folder)) as prometheus,
    ):
        prometheus.push(history(int(time.time()) // SCRAPE * SCRAPE))
        with Scene(prometheus, rejected=()) as scene, browser() as page:
            for name, width, height in PICTURES:
                visit(page, scene.url, width)
                (IMAGES / f"{name}.png").write_bytes(picture(page, width, height))


if __name__ == "__main__":
    main()
