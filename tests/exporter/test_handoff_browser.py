"""Four workers behind one port, and the pages of several real browsers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.lab.bokeh_servers import Served, bokeh_serve, wait_until
from tests.lab.browser import HOW, browser, driver

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(driver() is None, reason=f"NO CHROMEDRIVER: {HOW}"),
]

WORKERS, BROWSERS, TABS = 4, 2, 4
KEEP = ("--unused-session-lifetime", "3600000")
APP = """
import itertools, os, uuid
from bokeh.io import curdoc
from bokeh.models import Button, Div

session, clicks = f"mark-{uuid.uuid4().hex}-{os.getpid()}-", itertools.count(1)
shown, button = Div(text=f"{session}0-"), Button(label="more")
button.on_click(lambda: shown.update(text=f"{session}{next(clicks)}-"))
curdoc().add_root(shown)
curdoc().add_root(button)
"""
MARK = re.compile(r"mark-([0-9a-f]{32})-(\d+)-(\d+)-")
KEEP_SOCKETS = """
window.sockets = []
window.WebSocket = class extends WebSocket {
  constructor(...given) { super(...given); window.sockets.push(this) }
}
"""
PRESS = """
const buttons = (root) => [...root.querySelectorAll("*")].flatMap((each) =>
  each.tagName == "BUTTON" ? [each] : each.shadowRoot ? buttons(each.shadowRoot) : [])
buttons(document)[0].click()
"""
TEXT = "return Bokeh.documents[0]?.roots().map((root) => root.text ?? '').join()"


class Tab:
    """A page in a real browser."""

    def __init__(self, window: Chrome, url: str) -> None:
        self._window = window
        window.switch_to.new_window("tab")
        self._handle = window.current_window_handle
        script = {"source": KEEP_SOCKETS}
        window.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
        window.get(url)

    def shown(self, clicks: int) -> tuple[str, str]:
        """The session and the process that the page shows after so many clicks."""

        def found() -> re.Match[str] | None:
            match = MARK.search(self.run(TEXT) or "")
            return match if match and match[3] == str(clicks) else None

        match = wait_until(found, f"a page after {clicks} clicks")
        return match[1], match[2]

    def run(self, script: str) -> str | None:
        self._window.switch_to.window(self._handle)
        result: str | None = self._window.execute_script(script)
        return result

    def click(self) -> None:
        self.run(PRESS)

    def disconnect(self) -> None:
        self.run("window.sockets.at(-1).close()")


@pytest.fixture
def windows() -> Iterator[list[Chrome]]:
    with ExitStack() as stack:
        yield [stack.enter_context(browser()) for _ in range(BROWSERS)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    arguments = ("--num-procs", str(WORKERS), *KEEP)
    with bokeh_serve(tmp_path, *arguments, app=APP) as server:
        server.wait_workers(WORKERS, 60)
        yield server


def test_each_page_has_one_session_which_it_finds_again(
    server: Served, windows: list[Chrome]
) -> None:
    tabs = [Tab(window, server.url) for _ in range(TABS) for window in windows]
    sessions = [tab.shown(0) for tab in tabs]
    assert len(set(sessions)) == len(tabs)
    assert len({process for _, process in sessions}) == WORKERS
    for tab in tabs:
        tab.click()
    assert [tab.shown(1) for tab in tabs] == sessions
    for tab in tabs:
        tab.disconnect()
    opened = 'bokeh_connections_opened_total{app="/app"}'
    wait_until(lambda: server.value(opened) == 2 * len(tabs), "all pages to reconnect")
    for tab in tabs:
        tab.click()
    assert [tab.shown(2) for tab in tabs] == sessions
    assert server.value('bokeh_sessions_created_total{app="/app"}') == len(tabs)
    assert server.connected() == len(tabs)
