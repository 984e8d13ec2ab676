"""The app as a person sees it, in a real browser, and when each of its pictures was painted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

from tests.lab.bokeh_servers import wait_until
from tests.lab.browser import browser, pixels

PATIENCE = 120.0
# Runs before the page's own scripts. `painted`: milliseconds since the page was asked for, for
# each picture of just what is in view: one that was on its way when the view changed is none.
WATCH = """
window.painted = []
const shows = (source, {start, end}) => {
  const {x: [left], dw: [width]} = source.data
  return Math.abs(left - start) + Math.abs(width - (end - start)) < 0.05 * (end - start)
}
const watch = () => {
  const models = (window.Bokeh?.documents ?? []).flatMap(each => [...each.all_models])
  const source = models.find(each => each.type == "ColumnDataSource" && each.data.image)
  const plot = models.find(each => each.type == "Figure")
  const drawn = plot && Bokeh.index.find_one_by_id(plot.id)?.has_finished()
  if (source === undefined || !drawn) return requestAnimationFrame(watch)
  const paint = () => shows(source, plot.x_range) && requestAnimationFrame(
    () => requestAnimationFrame(() => painted.push(performance.now())))
  source.properties.data.change.connect(paint)
  paint()
}
watch()
addEventListener("wheel", () => { window.turned ??= performance.now() }, {capture: true})
"""
# Bokeh's widgets and texts are in shadow roots, where selectors do not reach.
DEEP = """
const found = []
const search = root => root.querySelectorAll("*").forEach(each => {
  if (each.matches(arguments[0]) && each.checkVisibility()) found.push(each)
  if (each.shadowRoot) search(each.shadowRoot)
})
search(document)
return found
"""
TEXT = """
const parts = [...arguments[0].shadowRoot.children].filter(each => each.tagName != "STYLE")
return parts.map(each => each.innerText).join(" ")
"""
PLOT = """
const plot = [...Bokeh.documents[0].all_models].find(each => each.type == "Figure")
const {left, top, width, height} = Bokeh.index.find_one_by_id(plot.id).frame.bbox
const at = Bokeh.index.find_one_by_id(plot.id).el.getBoundingClientRect()
return [at.left + left, at.top + top, width, height].map(Math.round)
"""


class Sight:
    """A browser's page of the app."""

    def __init__(self, started: Chrome) -> None:
        self._browser = started
        started.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})

    def open(self, url: str) -> float:
        """Seconds from asking for the page to its first picture."""
        self._browser.get(url)
        return self.await_painted()[0] / 1e3

    def await_painted(self) -> list[float]:
        """When pictures were painted, in milliseconds, as soon as there is one."""

        def painted() -> Any:
            return self._browser.execute_script("return window.painted")

        moments: list[float] = wait_until(painted, "a picture", PATIENCE)
        return moments

    def zoom(self, x: float, y: float, turns: int = 1) -> float:
        """Turn the wheel over a place of the plot, in shares of it from its upper left corner.

        Seconds from the turn to the picture.
        """
        left, top, width, height = self.plot()
        origin = ScrollOrigin.from_viewport(round(left + x * width), round(top + y * height))
        self.forget()
        ActionChains(self._browser).scroll_from_origin(origin, 0, -120 * turns).perform()
        painted = self.await_painted()[-1]
        turned: float = self._browser.execute_script("return window.turned")
        return (painted - turned) / 1e3

    def forget(self) -> None:
        """Only what is painted from now on counts."""
        self._browser.execute_script("window.painted.length = 0; window.turned = undefined")

    def plot(self) -> list[int]:
        """The frame of the plot within the window: left, top, width, height, in pixels."""
        found: list[int] = self._browser.execute_script(PLOT)
        return found

    def pixels(self) -> np.ndarray:
        """The inside of the plot's frame."""
        left, top, width, height = self.plot()
        return pixels(self._browser)[top : top + height, left : left + width]

    def screenshot(self) -> bytes:
        """All of the window, as PNG."""
        return self._browser.get_screenshot_as_png()

    def type(self, text: str) -> None:
        """A filter, in place of the one that is there."""
        [field] = self._browser.execute_script(DEEP, "input[type=text]")
        field.clear()
        field.send_keys(text + "\n")

    def alerts(self) -> list[str]:
        """The texts of what is shown as wrong."""
        shown = self._browser.execute_script(DEEP, ".alert-danger")
        return [self._browser.execute_script(TEXT, each).strip() for each in shown]


@contextmanager
def sight(width: int = 1100, height: int = 800) -> Iterator[Sight]:
    """A page in a fresh browser, which ends with the block."""
    with browser(width, height) as started:
        yield Sight(started)
