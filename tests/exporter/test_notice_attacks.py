"""Notices in pages and apps that make it hard: asleep, cut off, without scripts, busy, many."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.exporter.notice_pages import (
    ASK,
    CLICK,
    PLAIN,
    PRESS,
    RELEASED,
    WAITS,
    ask,
    asked,
    await_closed,
    bar,
    embedding,
    is_closed,
    open_page,
    page_text,
    post,
    serving,
)
from tests.lab.bokeh_servers import Served, wait_until
from tests.lab.browser import NEEDS_CHROMIUM, browser
from tests.lab.http_proxy import HttpProxy
from tests.lab.websocket_user import Users

pytestmark = [
    pytest.mark.slow,
    NEEDS_CHROMIUM,
]
ANYWHERE = ("--allow-websocket-origin", "*")
# Does what the files beside it say, and writes there what becomes of its session.
TELLING = """
from pathlib import Path
from bokeh.io import curdoc

document = curdoc()
work = []


def look():
    session = document.session_context.session
    if Path("works").exists() != bool(work):
        session.unblock_expiration() if work else session.block_expiration()
        work.pop() if work else work.append(1)
    if Path("holds").exists() != (document.callbacks.hold_value is not None):
        document.unhold() if document.callbacks.hold_value else document.hold()


def ended(context):
    with open("ended", "a") as file:  # Bokeh has deleted the globals
        file.write("ended\\n")


document.add_periodic_callback(look, 300)
document.on_session_destroyed(ended)
"""
PANEL_LOADS = """
import time
import panel as pn

pn.extension()
shown = pn.pane.Markdown("loading")
button = pn.widgets.Button(name="more")


def loaded():
    time.sleep(1)
    shown.object = "loaded"


def ended(context):
    with open("ended", "a") as file:  # Bokeh has deleted the globals
        file.write("ended\\n")


pn.state.onload(loaded)
pn.state.on_session_destroyed(ended)
pn.Column(shown, button).servable()
"""


@pytest.fixture(scope="module")
def window() -> Iterator[Chrome]:
    with browser() as started:
        yield started


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Served]:
    """A server that keeps sessions for a minute whose page has lost its connection."""
    kept = ("--unused-session-lifetime", "60000")
    with serving(tmp_path, PLAIN, *ANYWHERE, *kept) as server:
        server.wait_workers(1)
        yield server


@pytest.fixture
def telling(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, PLAIN + TELLING, "--check-unused-sessions", "500") as server:
        server.wait_workers(1)
        yield server


def sets(window: Chrome, state: str) -> None:
    """Freeze the page as a browser does with tabs in the background, or resume it (`active`)."""
    window.execute_cdp_cmd("Page.setWebLifecycleState", {"state": state})


def ask_and_settle(server: Served, window: Chrome) -> None:
    """Ask, and let the page read the answer to its confirmation.

    BokehJS does not recover from a connection that breaks within a message.
    """
    ask(server, window)
    time.sleep(1.5)


def stays(server: Served, seconds: float, sessions: int = 1) -> None:
    """Nothing is released meanwhile; a question waits for less."""
    time.sleep(seconds)
    assert server.connected() == sessions
    assert server.value(RELEASED) == 0


@pytest.mark.timeout(180)
def test_of_two_tabs_the_frozen_one_is_asked_again_and_the_other_one_answers(
    plain: Served, window: Chrome
) -> None:
    frozen = window.current_window_handle
    open_page(window, plain)
    window.switch_to.new_window("tab")
    awake = window.current_window_handle
    open_page(window, plain, 2)
    window.switch_to.window(frozen)
    ask_and_settle(plain, window)
    sets(window, "frozen")
    window.switch_to.window(awake)
    asked(window)
    window.execute_script(PRESS)
    stays(plain, WAITS + 10, sessions=2)
    window.close()
    window.switch_to.window(frozen)
    sets(window, "active")
    wait_until(lambda: plain.connected() == 1, "the other tab to be gone")
    stays(plain, 3)
    assert ASK["text"] in bar(window), "it is asked anew, for the whole time"
    await_closed(window, plain)


@pytest.mark.timeout(180)
def test_a_page_that_lost_its_connection_is_asked_again_when_it_is_back(
    plain: Served, window: Chrome
) -> None:
    port = int(plain.url.split(":")[2].partition("/")[0])
    with HttpProxy("127.0.0.1", port) as proxy:
        open_page(window, plain, url=f"http://127.0.0.1:{proxy.port}/app")
        ask_and_settle(plain, window)
        proxy.down()
        wait_until(lambda: plain.connected() == 0, "the connection to break")
        time.sleep(4)  # less than the question still waits
        proxy.up()
        wait_until(lambda: plain.connected() == 1, "the page to be back")
        stays(plain, WAITS - 2)
        asked(window)
        window.execute_script(PRESS)
        wait_until(lambda: not bar(window), "the question to go")
        stays(plain, WAITS + 6)
        window.get("about:blank")


def test_a_page_whose_policy_forbids_scripts_of_the_server_works_on_and_is_never_closed(
    plain: Served, window: Chrome
) -> None:
    policy = f"script-src 'unsafe-inline' blob: {plain.url.removesuffix('/app')}"
    with embedding(plain.url, headers={"Content-Security-Policy": policy}) as url:
        open_page(window, plain, url=url)
        post(plain, **ASK)
        stays(plain, WAITS + 8)
        assert not bar(window)
        window.execute_script(CLICK)
        wait_until(lambda: "1" in page_text(window), "the app to answer")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("what", ["works", "holds"])
def test_a_page_whose_app_begins_to_work_or_holds_its_document_is_not_closed(
    what: str, telling: Served, window: Chrome, tmp_path: Path
) -> None:
    open_page(window, telling)
    ask(telling, window)
    (tmp_path / what).touch()
    stays(telling, WAITS + 8)
    post(telling, **ASK)
    stays(telling, WAITS + 8)
    assert not is_closed(window)
    (tmp_path / what).unlink()
    time.sleep(1)
    ask(telling, window)
    await_closed(window, telling)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("program", "app"), [("bokeh", PLAIN + TELLING), ("panel", PANEL_LOADS)], ids=["Bokeh", "Panel"]
)
def test_the_app_hears_of_the_end_of_a_released_session_once(
    program: str, app: str, window: Chrome, tmp_path: Path
) -> None:
    options = ("--check-unused-sessions", "500")
    with serving(tmp_path, app, *options, program=program) as server:
        server.wait_workers(1)
        open_page(window, server)
        time.sleep(2)
        ask(server, window)
        await_closed(window, server)
        ended = tmp_path / "ended"
        wait_until(lambda: ended.exists() and ended.read_text(), "the app to hear of it")
        wait_until(lambda: server.state()["sessions"]["lingering"] == 0, "the session to go")
        assert ended.read_text() == "ended\n"
        assert server.state()["released_total"] == server.value(RELEASED) == 1


@pytest.mark.timeout(120)
def test_two_hundred_users_of_one_server_are_asked_at_once_and_nobody_is_closed_unheard(
    plain: Served,
) -> None:
    """These clients confirm nothing, as pages without scripts."""
    with Users() as users:
        there = [users.join(plain.url) for _ in range(200)]
        wait_until(lambda: plain.connected() == 200, "all of them")
        assert post(plain, **ASK) == {"workers": 1, "took": 1, "sessions": 200}

        def count() -> int:
            return sum(ASK["text"] in "".join(user.texts) for user in there)

        wait_until(lambda: count() == 200, "all to be asked")
        stays(plain, WAITS + 6, sessions=200)
