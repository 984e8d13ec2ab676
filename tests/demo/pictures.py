"""The picture of README.md: `python -m tests.demo.pictures` makes it anew, in two minutes.

The demo is the real one; a browser opens the report that it writes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.lab.browser import browser, picture
from tests.lab.processes import wait_until

FILE = Path(__file__).parents[2] / "docs" / "images" / "report.png"
WIDTH, HEIGHT = 1_100, 715
DRAWN = "return Bokeh.documents[0]?.is_idle"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, browser(WIDTH) as page:
        demo = [str(Path(sys.executable).with_name("autoscaler")), "demo"]
        subprocess.run(demo, cwd=folder, check=True)
        page.get(Path(folder, "demo-report.html").as_uri())
        wait_until(lambda: page.execute_script(DRAWN), 60.0, "all plots")
        FILE.write_bytes(picture(page, WIDTH, HEIGHT))


if __name__ == "__main__":
    main()
