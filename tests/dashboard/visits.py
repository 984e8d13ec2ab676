"""The dashboard in a window of a browser: opened, and read as people see it."""

from __future__ import annotations

import re

from selenium.webdriver import Chrome

from tests.dashboard.scene import TEXT
from tests.lab.processes import wait_until

WITHIN = 60.0
WIDE, PHONE = 1280, 390
DRAWN = "return Bokeh.documents[0]?.is_idle"
MODELS = "const models = [...(Bokeh.documents[0]?._all_models.values() ?? [])];"
CHOOSE = f"{MODELS} models.find((each) => each.title === 'Time').value = '1 hour'"
# The range of the time, in milliseconds: it goes on a little beyond now.
HOUR = f"{MODELS} const hour = models.find((each) => Math.abs(each.end - each.start - 4e6) < 5e5);"
SHOWS_AN_HOUR = f"{HOUR} return hour !== undefined"
ZOOM = f"{HOUR} hour.setv({{start: Date.now() - 4 * 60e3, end: Date.now() + 15e3}})"


def visit(page: Chrome, url: str, width: int = WIDE) -> None:
    """Open the dashboard in a window of so many pixels, and wait for its plots."""
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width == PHONE}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.get(url)
    shows(page, "What held a scale-down", "SessionsStillOpen")
    wait_until(lambda: page.execute_script(DRAWN), WITHIN, "all plots")


def look_at_minutes(page: Chrome) -> None:
    """Let the open page show the last hour, and zoom into its last minutes."""
    page.execute_script(CHOOSE)
    wait_until(lambda: page.execute_script(SHOWS_AN_HOUR), WITHIN, "the plots of an hour")
    page.execute_script(ZOOM)
    wait_until(lambda: page.execute_script(DRAWN), WITHIN, "all plots")


def text(page: Chrome) -> str:
    found: str = page.execute_script(TEXT)
    return re.sub(r"\s+", " ", found)


def shows(page: Chrome, *words: str) -> None:
    wait_until(lambda: all(each in text(page) for each in words), WITHIN, " and ".join(words))
