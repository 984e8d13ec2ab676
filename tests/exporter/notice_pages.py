"""Pages that show notices in a real browser, and what their users see and do."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bokeh.embed import server_document
from selenium.webdriver import Chrome

from tests.lab import processes
from tests.lab.bokeh_servers import Served, free_port, served, wait_until

TOKEN = "a-token-for-tests"
PLAIN = """
from bokeh.io import curdoc
from bokeh.models import Button, Div

shown, button = Div(text="0"), Button(label="more")
button.on_click(lambda: shown.update(text=str(int(shown.text) + 1)))
curdoc().add_root(shown)
curdoc().add_root(button)
"""
PANEL = """
import panel as pn

pn.extension({})
button = pn.widgets.Button(name="more")
pn.Column(pn.pane.Markdown(pn.bind(str, button.param.clicks)), button).servable()
"""
PAGES = {
    "Bokeh 3.10": ("bokeh", PLAIN),
    "Panel": ("panel", PANEL.format("")),
    "Panel, fast": ("panel", PANEL.format("template='fast'")),
    "Panel, material": ("panel", PANEL.format("template='material'")),
    "server_document": ("bokeh", PLAIN),
}
BAR = "return document.querySelector('#bokeh-exporter-notices [role=alert]')?.innerText ?? ''"
IS_READY = "return window.Bokeh?.documents.some((each) => each.is_idle)"
PRESS = "document.querySelector('#bokeh-exporter-notices button').click()"
WAITS = 10.0  # seconds
ASK = {"kind": "ask", "text": "Do you still use this page?", "seconds": WAITS}
CLOSED_WITHIN = 3 * WAITS + 10  # seconds, in which a page is asked anew, waits and is closed
A_MINUTE = 70.0  # seconds, with some to spare
RELEASED = 'bokeh_sessions_released_total{app="/app"}'
CLICK = """
const buttons = (root) => [...root.querySelectorAll("*")].flatMap((each) =>
  each.tagName == "BUTTON" ? [each] : each.shadowRoot ? buttons(each.shadowRoot) : [])
buttons(document).find((each) => each.textContent == "more").click()
"""


@contextmanager
def serving(
    folder: Path, app: str, *arguments: str, program: str = "bokeh", python: str = sys.executable
) -> Iterator[Served]:
    (folder / "app.py").write_text(app)
    (folder / "token").write_text(TOKEN)
    port = free_port()
    command = [python, "-m", program, "serve", "app.py", "--port", str(port), *arguments]
    environment = {"BOKEH_EXPORTER_TOKEN_FILE": str(folder / "token")}
    with served(folder, command, port=port, environment=environment) as server:
        server.token = TOKEN
        yield server


@contextmanager
def embedding(*urls: str, headers: Mapping[str, str] = {}) -> Iterator[str]:
    """The address of a page of another server that has the apps in it, sent with these headers."""
    apps = "".join(map(server_document, urls))

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in {"Content-Type": "text/html", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(f"<body><h1>Host</h1>{apps}</body>".encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as host:
        threading.Thread(target=host.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{host.server_port}/"
        host.shutdown()


def post(server: Served, **notice: Any) -> dict[str, Any]:
    """Post a notice, and wait while other tests of this server have posted six in a minute."""

    def answer() -> bytes:
        status, _, body = server.get("/notice", body=json.dumps(notice).encode())
        assert status in (200, 429), body
        return body if status == 200 else b""

    said: dict[str, Any] = json.loads(wait_until(answer, "room for a notice", A_MINUTE))
    return said


def open_page(window: Chrome, server: Served, count: int = 1, url: str | None = None) -> None:
    window.get(url or server.url)
    wait_until(lambda: server.connected() == count, "the session")
    wait_until(lambda: window.execute_script(IS_READY), "the page")


def bar(window: Chrome) -> str:
    text: str = window.execute_script(BAR)
    return text


def asked(window: Chrome) -> None:
    wait_until(lambda: ASK["text"] in bar(window), "the question")


def ask(server: Served, window: Chrome) -> None:
    """Ask, and again as the daemon's rounds do: a page that Bokeh is just busy with is skipped."""
    for _ in range(2):
        post(server, **ASK)
        with suppress(AssertionError):
            processes.wait_until(lambda: ASK["text"] in bar(window), 8.0, "the question")
            return
    asked(window)


def is_closed(window: Chrome) -> bool:
    return "This page was closed because nobody used it." in bar(window)


def await_closed(window: Chrome, server: Served, releases: float = 1) -> None:
    """Wait until the page says so, and until the server has counted it right after that."""
    wait_until(lambda: is_closed(window), "the page to be closed", CLOSED_WITHIN)
    wait_until(lambda: server.value(RELEASED) == releases, "the release to be counted")


def page_text(window: Chrome) -> str:
    """The text of the app's first element."""
    return str(window.execute_script("return Bokeh.documents[0].roots()[0].text"))
