"""Notices in real pages in a real browser: announced, answered, ignored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome

from tests.lab.bokeh_servers import Served, bokeh_serve, wait_until
from tests.lab.browser import HOW, browser, driver

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(driver() is None, reason=f"NO CHROMEDRIVER: {HOW}"),
]

TOKEN = "a-token-for-tests"  # noqa: S105
PLAIN = """
from bokeh.io import curdoc
from bokeh.models import Button, Div

shown, button = Div(text="0"), Button(label="more")
button.on_click(lambda: shown.update(text=str(int(shown.text) + 1)))
curdoc().add_root(shown)
curdoc().add_root(button)
"""
BAR = "return document.querySelector('#bokeh-exporter-notices [role=alert]')?.innerText ?? ''"
PRESS = "document.querySelector('#bokeh-exporter-notices button').click()"


@pytest.fixture(scope="module")
def window() -> Iterator[Chrome]:
    with browser() as started:
        yield started


@contextmanager
def serving(folder: Path, app: str, *arguments: str, **more: Any) -> Iterator[Served]:
    token = folder / "token"
    token.write_text(TOKEN)
    environment = {"BOKEH_EXPORTER_TOKEN_FILE": str(token)}
    with bokeh_serve(folder, *arguments, app=app, environment=environment, **more) as server:
        server.token = TOKEN
        yield server


def post(server: Served, **notice: Any) -> dict[str, Any]:
    status, _, body = server.get("/notice", body=json.dumps(notice).encode())
    assert status == 200, body
    said: dict[str, Any] = json.loads(body)
    return said


def open_page(window: Chrome, server: Served, count: int = 1) -> None:
    window.get(server.url)
    wait_until(lambda: server.connected() == count, "the session")


def bar(window: Chrome) -> str:
    text: str = window.execute_script(BAR)
    return text


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
