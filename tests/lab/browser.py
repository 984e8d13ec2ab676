"""A real browser: Debian's Chromium, without a window, led by its driver."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

HOW = "`make parts` installs chromium-driver"
OPTIONS = (
    "--headless",
    "--no-sandbox",  # it may be root that runs the tests
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


def driver() -> str | None:
    """The program that leads the browser, if there is one."""
    return shutil.which("chromedriver")


NEEDS_CHROMIUM = pytest.mark.skipif(driver() is None, reason=f"NO CHROMEDRIVER: {HOW}")


@contextmanager
def browser(width: int = 1100, height: int = 800) -> Iterator[Chrome]:
    """A fresh browser with a window of so many pixels; it ends with the block."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for option in (*OPTIONS, f"--window-size={width},{height}"):
        options.add_argument(option)
    started = Chrome(options=options, service=Service(driver()))
    try:
        yield started
    finally:
        started.quit()


@contextmanager
def a_tab(started: Chrome) -> Iterator[None]:
    """A tab of its own in a browser that several tests share."""
    first = started.current_window_handle
    started.switch_to.new_window("tab")
    yield
    started.close()
    started.switch_to.window(first)


def picture(page: Chrome, width: int, height: int) -> bytes:
    """The first so many pixels of the page as it is, as PNG."""
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    asked = {"captureBeyondViewport": True, "clip": clip}
    return base64.b64decode(page.execute_cdp_cmd("Page.captureScreenshot", asked)["data"])


def pixels(started: Chrome) -> np.ndarray:
    """What is to be seen: rows from the top, red, green and blue from 0 to 255."""
    return np.asarray(Image.open(io.BytesIO(started.get_screenshot_as_png())).convert("RGB"))
