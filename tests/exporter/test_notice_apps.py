"""Notices beside what apps do: two in one page, new roots all the time, full screen, dialogs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome

from tests.exporter.notice_pages import (
    ASK,
    CLICK,
    PLAIN,
    PRESS,
    WAITS,
    ask,
    asked,
    await_closed,
    bar,
    embedding,
    open_page,
    post,
    serving,
)
from tests.lab.bokeh_servers import wait_until
from tests.lab.browser import NEEDS_CHROMIUM, browser, pixels

pytestmark = [
    pytest.mark.slow,
    NEEDS_CHROMIUM,
]
ANYWHERE = ("--allow-websocket-origin", "*")
# Replaces its only root, until there is a file `still`.
REPLACING = """
from pathlib import Path
from bokeh.io import curdoc
from bokeh.models import Div

document = curdoc()


def replace():
    if not Path("still").exists():
        document.clear()
        document.add_root(Div(text="new"))


replace()
document.add_periodic_callback(replace, 700)
"""
# Looks for its only source when a button is pressed.
LOOKING = (
    PLAIN
    + """
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

plot = figure()
plot.line("x", "y", source=ColumnDataSource({"x": [1, 2], "y": [1, 2]}))
curdoc().add_root(plot)
sources = {"type": ColumnDataSource}
button.on_click(lambda: curdoc().select_one(sources).stream({"x": [3], "y": [3]}))
"""
)
# What a user has typed into the text of its first root would be lost if that was rendered anew.
TYPING = """
from bokeh.io import curdoc
from bokeh.models import Button, ColumnDataSource, DataTable, Div, TableColumn

shown = {
    "a text and a button": [Div(text="<input>"), Button()],
    "a table": [DataTable(source=ColumnDataSource({"a": [1]}), columns=[TableColumn(field="a")])],
    "a text alone": [Div(text="<input>")],
}
what = curdoc().session_context.request.arguments["what"][0].decode()
for each in shown[what]:
    curdoc().add_root(each)
"""
REMEMBER = """
const all = (root) => [...root.querySelectorAll("*")].flatMap((each) =>
  [each, ...(each.shadowRoot ? all(each.shadowRoot) : [])])
const place = all(document).find((each) => each.matches("input, .slick-cell"))
"""
STREAMING = """
import random
from bokeh.io import curdoc
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

source, plot = ColumnDataSource({"x": [0], "y": [0]}), figure()
plot.line("x", "y", source=source)
curdoc().add_root(plot)
curdoc().add_periodic_callback(
    lambda: source.stream({"x": [max(source.data["x"]) + 1], "y": [random.random()]}), 500
)
"""
NOTIFYING = """
import panel as pn

pn.extension(notifications=True)
pn.state.add_periodic_callback(lambda: pn.state.notifications.info("news", duration=800), 1500)
pn.pane.Markdown("hello").servable()
"""
DIALOG = """
const dialog = document.createElement("dialog")
dialog.append("Are you sure?")
document.body.append(dialog)
dialog.showModal()
"""
FULL_SCREEN = "onclick = () => document.body.firstElementChild.requestFullscreen()"
YELLOW = [255, 243, 205]  # of the bar


@pytest.fixture(scope="module")
def window() -> Iterator[Chrome]:
    with browser() as started:
        yield started


def test_of_two_servers_in_one_page_each_has_a_bar_and_use_answers_both(
    tmp_path: Path, window: Chrome
) -> None:
    """Their models have the same IDs."""
    folders = [tmp_path / "first", tmp_path / "second"]
    for each in folders:
        each.mkdir()
    with serving(folders[0], PLAIN, *ANYWHERE) as one, serving(folders[1], PLAIN, *ANYWHERE) as two:
        for server in (one, two):
            server.wait_workers(1)
        with embedding(one.url, two.url) as url:
            open_page(window, one, url=url)
            wait_until(lambda: two.connected() == 1, "the other session")
            ask(one, window)
            post(two, **ASK)
            bars = "return document.querySelectorAll('[role=alert]').length"
            wait_until(lambda: window.execute_script(bars) == 2, "both questions")
            ActionChains(window).move_by_offset(9, 90).move_by_offset(9, 90).perform()
            wait_until(lambda: not bar(window), "the questions to go")
            time.sleep(WAITS + 6)
            assert [one.connected(), two.connected()] == [1, 1]


def test_who_answers_an_app_that_replaces_its_roots_stays_and_who_does_not_reads_why(
    tmp_path: Path, window: Chrome
) -> None:
    with serving(tmp_path, REPLACING) as server:
        server.wait_workers(1)
        open_page(window, server)
        ask(server, window)
        time.sleep(1.5)  # in which the root is gone at which the question hung
        window.execute_script(PRESS)
        time.sleep(WAITS + 10)
        assert not bar(window)
        assert server.connected() == 1
        assert server.value('bokeh_message_errors_total{app="/app"}') == 0
        ask(server, window)
        await_closed(window, server)
        assert "error" not in server.output.lower()
        assert "warning" not in server.output.lower()


def test_an_app_finds_its_own_models_only(tmp_path: Path, window: Chrome) -> None:
    with serving(tmp_path, LOOKING) as server:
        server.wait_workers(1)
        open_page(window, server)
        ask(server, window)
        window.execute_script(CLICK)
        wait_until(lambda: not bar(window), "the question to go")
        assert server.value('bokeh_message_errors_total{app="/app"}') == 0
        assert "error" not in server.output.lower()


def test_a_question_that_nobody_repeats_is_withdrawn(tmp_path: Path, window: Chrome) -> None:
    with serving(tmp_path, PLAIN) as server:
        server.wait_workers(1)
        open_page(window, server)
        post(server, **ASK, lasts=6)
        asked(window)
        wait_until(lambda: not bar(window), "the question to be withdrawn")
        time.sleep(WAITS + 3)
        assert server.connected() == 1
        for _ in range(5):  # no more than six in a minute
            post(server, **ASK, lasts=6)
            time.sleep(4)
        await_closed(window, server)


@pytest.mark.parametrize(
    ("what", "is_shown"),
    [("a text and a button", True), ("a table", True), ("a text alone", False)],
)
def test_what_a_user_has_typed_stays_when_a_notice_appears(
    what: str, is_shown: bool, tmp_path: Path, window: Chrome
) -> None:
    with serving(tmp_path, TYPING) as server:
        server.wait_workers(1)
        open_page(window, server, url=f"{server.url}?what={what}")
        window.execute_script(REMEMBER + "window.typed = place; place.textContent = 'typed'")
        post(server, text="A new version comes", seconds=60)
        if is_shown:
            wait_until(lambda: bar(window), "the announcement")
        time.sleep(1)
        assert window.execute_script(REMEMBER + "return place == window.typed")
        assert bool(bar(window)) is is_shown


@pytest.mark.parametrize("what", ["full screen", "a dialog"])
def test_a_question_is_seen_over_all_that_is_in_front_of_the_page(
    what: str, tmp_path: Path, window: Chrome
) -> None:
    with serving(tmp_path, PLAIN) as server:
        server.wait_workers(1)
        open_page(window, server)
        if what == "a dialog":
            window.execute_script(DIALOG)
        else:
            window.execute_script(FULL_SCREEN)
            window.find_element("tag name", "body").click()
            full = "return document.fullscreenElement != null"
            wait_until(lambda: window.execute_script(full), "the full screen")
        ask(server, window)
        wait_until(lambda: pixels(window)[4, 4].tolist() == YELLOW, "the bar to be seen")
        if what == "a dialog":
            window.execute_script("document.querySelector('dialog').remove()")
            asked(window)
            wait_until(lambda: pixels(window)[4, 4].tolist() == YELLOW, "the bar to be seen")
        ActionChains(window).move_by_offset(9, 90).move_by_offset(9, 90).perform()
        wait_until(lambda: not bar(window), "the question to go")
        window.execute_script("if (document.fullscreenElement) document.exitFullscreen()")


@pytest.mark.parametrize(
    ("program", "app"),
    [("bokeh", STREAMING), ("panel", NOTIFYING)],
    ids=["ranges", "notifications"],
)
def test_a_page_that_only_follows_its_app_is_unused(
    program: str, app: str, tmp_path: Path, window: Chrome
) -> None:
    with serving(tmp_path, app, program=program) as server:
        server.wait_workers(1)
        open_page(window, server)
        time.sleep(4)
        post(server, **ASK, idle_for=3)
        asked(window)
        await_closed(window, server)


def test_an_announcement_of_what_comes_at_once_is_read_too(tmp_path: Path, window: Chrome) -> None:
    with serving(tmp_path, PLAIN) as server:
        server.wait_workers(1)
        open_page(window, server)
        for text in ("The server is stopped now.", "Really."):
            post(server, text=text, seconds=0)
            wait_until(lambda text=text: text in bar(window), text)
