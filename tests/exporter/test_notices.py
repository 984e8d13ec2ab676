"""Notices in real pages in a real browser: announced, answered, ignored."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome

from autoscaler.adapters.sidecars import HttpSidecars
from autoscaler.control.pass_result import Outcome, PassResult
from autoscaler.ports import PolicySet, TargetState
from autoscaler.reporting.notices import NoticeRecorder
from autoscaler.reporting.outbox import Outbox
from exporter.agent.notices import LOADED_SECONDS
from exporter.child_processes import below
from exporter.tokens import TokenFile
from tests.builders import pod, policy
from tests.exporter.carriers import DJANGO, MOUNTED, PANEL_ON_FASTAPI, UVICORN, carried
from tests.exporter.notice_pages import (
    ASK,
    CLICK,
    CLOSED_WITHIN,
    PAGES,
    PLAIN,
    PRESS,
    RELEASED,
    TOKEN,
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
from tests.lab import newer_bokeh
from tests.lab.bokeh_servers import Served, wait_until
from tests.lab.browser import NEEDS_CHROMIUM, browser

pytestmark = [
    pytest.mark.slow,
    NEEDS_CHROMIUM,
]


@pytest.fixture(scope="module")
def window() -> Iterator[Chrome]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("plain"), PLAIN) as server:
        server.wait_workers(1)
        yield server


def test_all_users_of_all_workers_read_an_announcement(tmp_path: Path, window: Chrome) -> None:
    with serving(tmp_path, PLAIN, "--num-procs", "2") as server:
        server.wait_workers(2)
        open_page(window, server)
        said = post(server, text="A <b>new</b> version comes", seconds=90)
        assert said == {"workers": 2, "took": 2, "sessions": 1}
        wait_until(lambda: "A <b>new</b> version comes" in bar(window), "the bar")
        wait_until(lambda: "1:2" in bar(window), "the countdown")
        window.execute_script(PRESS)
        wait_until(lambda: not bar(window), "the bar to close")


HTML = "<img src=x onerror=document.body.remove()> Do you <b>still</b> use this page?"
# Writes into all that the page got from the agent, as a hostile page would.
FORGED = """
for (const model of Bokeh.documents[0]._all_models.values()) {
  if (model.type == "CustomJS") {
    for (const number of [["x"], [1e300], [1], [2], []]) model.tags = [WORD, ...number]
  }
}
"""


@contextmanager
def stopped(window: Chrome) -> Iterator[None]:
    """All processes of the pages stand still, as those of a laptop that sleeps."""
    processes = below(window.service.process.pid, -1)
    pages = [each for each in processes if b"--type=renderer" in command_line(each)]
    assert pages
    for each in pages:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in pages:
            os.kill(each, signal.SIGCONT)


def command_line(process: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def test_a_text_is_no_html_and_a_page_answers_for_itself_only(
    plain: Served, window: Chrome
) -> None:
    before = plain.value(RELEASED)
    first = window.current_window_handle
    open_page(window, plain)
    window.switch_to.new_window("tab")
    open_page(window, plain, 2)
    post(plain, **{**ASK, "text": HTML})
    wait_until(lambda: HTML in bar(window), "the question")
    assert window.execute_script("return document.querySelectorAll('img').length") == 0
    for word in ('{"a": 1}', '"silent"', '"stay"'):
        window.execute_script(FORGED.replace("WORD", word))
    window.close()
    window.switch_to.window(first)
    wait_until(lambda: HTML in bar(window), "the question to the other one")
    await_closed(window, plain, before + 1)
    assert "error" not in plain.output.lower()


@pytest.mark.parametrize("way", ["the button", "the app", "the mouse", "the keyboard"])
def test_whoever_answers_or_uses_the_page_stays(way: str, plain: Served, window: Chrome) -> None:
    before = plain.value(RELEASED)
    open_page(window, plain)
    ask(plain, window)
    body = window.find_element("tag name", "body")
    {
        "the button": lambda: window.execute_script(PRESS),
        "the app": lambda: window.execute_script(CLICK),
        "the mouse": lambda: [
            ActionChains(window).move_by_offset(9, 200).perform() for _ in range(3)
        ],
        "the keyboard": lambda: body.send_keys("a"),
    }[way]()
    wait_until(lambda: not bar(window), "the question to go")
    time.sleep(float(ASK["seconds"]) + 6)  # longer than the question would have waited
    assert plain.connected() == 1
    assert not bar(window)
    assert plain.value(RELEASED) == before


def test_whoever_has_just_used_the_page_is_not_asked(plain: Served, window: Chrome) -> None:
    open_page(window, plain)
    window.execute_script(CLICK)
    wait_until(lambda: page_text(window) == "1", "the app to answer")
    post(plain, **ASK, idle_for=3)
    time.sleep(3)
    assert not bar(window)
    post(plain, **ASK, idle_for=3)
    asked(window)


def test_silence_releases_the_page_which_says_so_and_offers_to_reload(
    plain: Served, window: Chrome
) -> None:
    before = plain.value(RELEASED)
    open_page(window, plain)
    ask(plain, window)
    await_closed(window, plain, before + 1)
    wait_until(lambda: plain.connected() == 0, "the session to end")
    assert plain.value(RELEASED) == before + 1
    assert plain.value('bokeh_sessions_lost_total{app="/app"}') == 0
    time.sleep(5)  # in which a page that had lost its connection would be back
    assert plain.connected() == 0
    window.execute_script(PRESS)
    wait_until(lambda: plain.connected() == 1, "the page to be loaded again")
    assert not bar(window)


def test_a_question_waits_for_a_laptop_that_sleeps(plain: Served, window: Chrome) -> None:
    open_page(window, plain)
    ask(plain, window)
    with stopped(window):
        time.sleep(float(ASK["seconds"]) + 10)
    time.sleep(3)
    assert not is_closed(window)
    assert plain.connected() == 1
    window.execute_script(PRESS)
    wait_until(lambda: not bar(window), "the question to go")


def test_each_tab_answers_for_itself(plain: Served, window: Chrome) -> None:
    first = window.current_window_handle
    open_page(window, plain)
    window.switch_to.new_window("tab")
    open_page(window, plain, 2)
    second = window.current_window_handle
    ask(plain, window)
    window.execute_script(PRESS)
    wait_until(lambda: plain.connected() == 1, "the other tab to be closed", CLOSED_WITHIN)
    assert not bar(window)
    window.close()
    window.switch_to.window(first)
    assert second != first
    wait_until(lambda: is_closed(window), "the other tab to say so")


@pytest.mark.parametrize("name", PAGES)
def test_pages_of_every_kind_show_it_answer_and_are_closed(
    name: str, tmp_path: Path, window: Chrome
) -> None:
    program, app = PAGES[name]
    python = newer_bokeh.given() if name == "Bokeh 3.10" else sys.executable
    if not python:
        pytest.skip("BOKEH 3.10 WAS NOT TESTED: `make parts` gets it where a Python 3.12 is")
    origins = ["--allow-websocket-origin", "*"] if name == "server_document" else []
    with ExitStack() as stack:
        server = stack.enter_context(
            serving(tmp_path, app, *origins, program=program, python=python)
        )
        server.wait_workers(1)
        url = stack.enter_context(embedding(server.url)) if origins else None
        is_shown_answered_and_closed(server, window, url)


CARRIERS = {
    "Panel on FastAPI": (PANEL_ON_FASTAPI, "/app"),
    "bokeh-fastapi": (MOUNTED, "/inner/app"),
    "Django": (DJANGO, "/app"),
}


@pytest.mark.parametrize("name", CARRIERS)
def test_servers_of_other_kinds_show_it_too(name: str, tmp_path: Path, window: Chrome) -> None:
    script, route = CARRIERS[name]
    (tmp_path / "token").write_text(TOKEN)
    # None of these scripts serves Bokeh's own files.
    environment = {
        "BOKEH_EXPORTER_TOKEN_FILE": str(tmp_path / "token"),
        "BOKEH_RESOURCES": "inline",
    }
    with carried(tmp_path, script, UVICORN, route=route, environment=environment) as server:
        server.token = TOKEN
        server.wait_workers(1)
        is_shown_answered_and_closed(server, window)


def is_shown_answered_and_closed(server: Served, window: Chrome, url: str | None = None) -> None:
    open_page(window, server, url=url)
    post(server, text="A new version comes", seconds=60)
    wait_until(lambda: "A new version comes" in bar(window), "the announcement")
    window.execute_script(PRESS)
    wait_until(lambda: not bar(window), "the announcement to be closed")
    ask(server, window)
    window.execute_script(PRESS)
    wait_until(lambda: not bar(window), "the question to go")
    assert server.connected() == 1
    ask(server, window)
    wait_until(lambda: is_closed(window), "the page to be closed", CLOSED_WITHIN)
    wait_until(lambda: server.connected() == 0, "the session to end")
    time.sleep(3)  # in which a page that had lost its connection would be back
    assert server.connected() == 0
    assert is_closed(window)


@pytest.mark.parametrize("name", ["Bokeh", "Bokeh 3.10", "Panel, fast"])
def test_in_a_drain_a_page_that_its_app_lets_be_closed_says_so_and_leads_elsewhere(
    name: str, tmp_path: Path, window: Chrome
) -> None:
    program, app = PAGES.get(name, ("bokeh", PLAIN))
    python = newer_bokeh.given() if name == "Bokeh 3.10" else sys.executable
    if not python:
        pytest.skip("BOKEH 3.10 WAS NOT TESTED: `make parts` gets it where a Python 3.12 is")
    free = app + "\nfrom exporter import hints\nhints.may_close()\n"
    with serving(tmp_path, free, program=program, python=python) as server:
        server.wait_workers(1)
        open_page(window, server)
        time.sleep(LOADED_SECONDS)
        said = post(server, kind="close", text="Load <b>again</b>.", seconds=0, reload="Again")
        assert said == {"workers": 1, "took": 1, "sessions": 1}
        wait_until(lambda: "Load <b>again</b>." in bar(window), "the page to be closed")
        wait_until(lambda: server.connected() == 0, "the session to end")
        time.sleep(3)  # in which a page that had lost its connection would be back
        assert server.connected() == 0
        assert server.value(RELEASED) == 1
        window.execute_script(PRESS)
        wait_until(lambda: server.connected() == 1, "the page to be loaded again")
        server.terminate()
        wait_until(lambda: "This server will be stopped." in bar(window), "the drain to close it")
        wait_until(lambda: server.connected() == 0, "the session to end")
        server.launcher.send_signal(signal.SIGTERM)  # not to wait for the reconnect window


@pytest.mark.timeout(180)
def test_a_policy_closes_the_forgotten_tab_and_asks_nobody_who_uses_the_page(
    plain: Served, window: Chrome, tmp_path: Path
) -> None:
    """The daemon's own parts give the notices: the policy, its rounds and its client."""
    (tmp_path / "token").write_text(TOKEN)
    port = int(plain.sidecar_url.rpartition(":")[2])
    outbox = Outbox("notices", "a sidecar", 9)
    recorder = NoticeRecorder(HttpSidecars(port, TokenFile(tmp_path / "token")), outbox)
    idle = policy(idle={"after": "1m", "notice": "10s"}, notices={"idle": ASK["text"]})
    target = TargetState(idle.target.ref, "uid", "1", 1, 1, (pod(ip="127.0.0.1"),))
    forgotten = window.current_window_handle
    before = plain.value(RELEASED)
    open_page(window, plain)
    window.switch_to.new_window("tab")
    open_page(window, plain, 2)
    seen, began = set(), time.monotonic()
    while plain.connected() == 2:
        assert time.monotonic() - began < 110
        window.execute_script(CLICK)
        recorder.record(PassResult(time.time(), (Outcome(idle, target),), PolicySet((idle,))))
        time.sleep(2)
        seen.add(bar(window))
    assert time.monotonic() - began > 60
    assert seen == {""}
    window.close()
    window.switch_to.window(forgotten)
    await_closed(window, plain, before + 1)
