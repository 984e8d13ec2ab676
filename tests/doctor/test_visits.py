"""Whether page, WebSocket and reconnect find one session, at real servers without a proxy."""

from __future__ import annotations

import gc
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autoscaler.adapters.visitor import visit
from autoscaler.doctor.facts import Facts
from tests.doctor.set_ups import found
from tests.lab.bokeh_servers import BIN, bokeh_serve, free_port, served

pytestmark = pytest.mark.slow

LONG = ("--session-token-expiration", "86400")
WORKERS_WITHIN = 60.0  # seconds; Panel takes ten to import
# It changes its own title when its page has loaded, and has roots of a template.
PANEL = """
import panel as pn

pn.extension(template="fast")
pn.state.onload(lambda: setattr(pn.state.template, "title", "loaded"))
slider = pn.widgets.IntSlider(name="x")
pn.Column(slider, pn.bind(str, slider)).servable()
pn.Row("aside").servable(target="sidebar")
"""


def look(url: str) -> list[str]:
    return list(found(Facts(visit=visit(url, {}, 0.0, lambda _: None))))


@pytest.mark.parametrize(("hand_off", "wanted"), [("on", []), ("off", ["session-not-found-again"])])
def test_several_processes_need_the_hand_off(
    hand_off: str, wanted: list[str], tmp_path: Path
) -> None:
    options = ("--hand-off", hand_off)
    with bokeh_serve(tmp_path, "--num-procs", "3", *LONG, options=options) as server:
        server.wait_workers(3)

        assert look(server.url) == wanted


def test_nothing_is_found_at_an_app_of_panel_that_changes_its_title(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PANEL)
    port = free_port()
    command = [str(BIN / "panel"), "serve", "app.py", "--port", str(port), *LONG]
    with served(tmp_path, command, port=port) as server:
        server.wait_workers(1, WORKERS_WITHIN)

        assert look(server.url) == []


def test_another_host_does_not_learn_the_cookies_of_this_one() -> None:
    """The same server under another name stands for a provider of logins."""
    asked: list[tuple[str, str]] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.headers["Host"], self.headers["Cookie"]))
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{port}/login")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        port = server.server_port
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        seen = visit(
            f"http://127.0.0.1:{port}/app", {"Cookie": "login=secret"}, 0.0, lambda _: None
        )
        server.shutdown()
        serving.join()

    assert asked == [(f"127.0.0.1:{port}", "login=secret")]
    assert list(found(Facts(visit=seen))) == ["not-a-bokeh-page"]
    assert seen.status == 302


def test_a_token_that_has_expired_is_found(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, "--session-token-expiration", "1") as server:
        server.wait_workers(1)

        assert look(f"{server.url}?busy=2") == ["websocket-closed", "token-expires-early"]
    gc.collect()  # a connection that was left open would warn now, which fails the test


def test_what_is_behind_a_page_that_does_not_open_is_said() -> None:
    facts = Facts(visit=visit("http://127.0.0.1:1/app", {}, 60.0, lambda _: None))

    [said] = facts.unexamined
    assert said.startswith("sessions, headers and timeouts of http://127.0.0.1:1/app: ")


def test_a_login_is_no_page_of_the_app(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PANEL)
    port = free_port()
    login = ("--basic-auth", "secret", "--cookie-secret", "x" * 32)
    command = [str(BIN / "panel"), "serve", "app.py", "--port", str(port), *LONG, *login]
    with served(tmp_path, command, port=port) as server:
        server.wait_workers(1, WORKERS_WITHIN)

        assert look(server.url) == ["not-a-bokeh-page"]
