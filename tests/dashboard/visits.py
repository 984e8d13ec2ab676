"""The dashboard in a window of a browser: opened, and read as people see it."""

from __future__ import annotations

import re

from selenium.webdriver import Chrome

from tests.dashboard.scene import TEXT
from tests.lab.processes import wait_until

WITHIN = 60.0
WIDE, PHONE = 1280, 390


def visit(page: Chrome, url: str, width: int = WIDE) -> None:
    """Open the dashboard in a window of so many pixels, and wait for its plots."""
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width == PHONE}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.get(url)
    shows(page, "What held a scale-down", "SessionsStillOpen")
    drawn = "return Bokeh.documents[0]?.is_idle"
    wait_until(lambda: page.execute_script(drawn), WITHIN, "all plots")


def text(page: Chrome) -> str:
    found: str = page.execute_script(TEXT)
    return re.sub(r"\s+", " ", found)


def shows(page: Chrome, *words: str) -> None:
    wait_until(lambda: all(each in text(page) for each in words), WITHIN, " and ".join(words))
