"""Four workers behind one port, and the pages of several real browsers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.exporter.worker_servers import WAYS, WORKERS, launched, through
from tests.lab.bokeh_servers import Served, wait_until
from tests.lab.browser import NEEDS_CHROMIUM, browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timing_sensitive,  # a worker that stands still for half a second gets no page
    NEEDS_CHROMIUM,
]

BROWSERS, TABS = 2, 2  # together one page for each worker
PAGE = """
import itertools, os, sys, uuid
from bokeh.io import curdoc
from bokeh.layouts import column
from bokeh.models import Button, Div

def page():
    session, clicks = f"mark-{uuid.uuid4().hex}-{os.getpid()}-", itertools.count(1)
    shown, button = Div(text=f"{session}0-"), Button(label="more")
    button.on_click(lambda: shown.update(text=f"{session}{next(clicks)}-"))
    return column(shown, button)
"""
PANEL = f"""{PAGE}
import panel as pn

pn.extension(reconnect=True)
"""
PN_SERVE = """
pn.serve(
    {"app": lambda: pn.pane.Bokeh(page())}, port=int(sys.argv[2]), address=sys.argv[1],
    num_procs=4, show=False, unused_session_lifetime_milliseconds=3_600_000,
)
"""
APPS = {
    "bokeh serve": f"{PAGE}\ncurdoc().add_root(page())",
    "panel serve": f"{PANEL}\npn.pane.Bokeh(page()).servable()",
    "pn.serve": f"{PANEL}\n{PN_SERVE}",
}
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
TEXT = "return [...Bokeh.documents[0]._all_models.values()].map((model) => model.text ?? '').join()"


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


@pytest.fixture(scope="module")
def windows() -> Iterator[list[Chrome]]:
    with ExitStack() as stack:
        yield [stack.enter_context(browser()) for _ in range(BROWSERS)]


# Each server and each way once; the benchmark of the hand-off tries all nine pairs.
@pytest.mark.parametrize(("server_of", "way"), list(zip(APPS, WAYS, strict=True)))
def test_each_page_has_one_session_which_it_finds_again(
    server_of: str, way: str, tmp_path: Path, windows: list[Chrome]
) -> None:
    with (
        launched(tmp_path, server_of, APPS[server_of]) as server,
        through(way, tmp_path, server) as url,
    ):
        use(server, [Tab(window, url) for _ in range(TABS) for window in windows])


def use(server: Served, tabs: list[Tab]) -> None:
    """Click, lose all connections and click again."""
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
