"""Whether page, WebSocket and reconnect find one session, at real servers without a proxy."""

from __future__ import annotations

import gc
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autoscaler.adapters.visitor import visit
from autoscaler.doctor.facts import Facts
from tests.doctor.set_ups import found
from tests.lab.bokeh_servers import BIN, bokeh_serve, free_port, listens, served, wait_until

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


Answer = tuple[int, dict[str, str], str]


@contextmanager
def answering(answer: Callable[[int, str], Answer]) -> Iterator[tuple[int, list[Message]]]:
    """A server on loopback that answers each path at its port as told; the requests that it got."""
    asked: list[Message] = []

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers)
            status, headers, body = answer(server.server_port, self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            serving.join()


def test_another_host_does_not_learn_the_cookies_of_this_one() -> None:
    """The same server under another name stands for a provider of logins."""

    def elsewhere(port: int, path: str) -> Answer:
        return 302, {"Location": f"http://localhost:{port}/login"}, ""

    with answering(elsewhere) as (port, asked):
        seen = visit(
            f"http://127.0.0.1:{port}/app", {"Cookie": "login=secret"}, 0.0, lambda _: None
        )

    assert [(each["Host"], each["Cookie"]) for each in asked] == [
        (f"127.0.0.1:{port}", "login=secret")
    ]
    said = found(Facts(visit=seen))
    assert list(said) == ["not-a-bokeh-page"]
    assert f"autoscaler doctor http://localhost:{port}/login" in said["not-a-bokeh-page"].fix


# What answers instead of a page of Bokeh: how it does so, and the line of the fix that helps.
INSTEAD: dict[str, tuple[Answer, str]] = {
    "a login of HTTP": (
        (401, {"WWW-Authenticate": "Basic"}, ""),
        "--header 'Authorization=Basic BASE64'",
    ),
    "nothing at this address": ((404, {}, "not found"), "/PREFIX/APP"),
    "a proxy whose app does not answer": ((502, {}, "bad gateway"), "curl -v "),
    "a page of something else": ((200, {}, "<h1>Welcome</h1>"), "--header 'Cookie=NAME=VALUE'"),
    "a page that embeds an app by its address": (
        (200, {}, "<script>xhr.open('GET', 'https://b.example.com/app/autoload.js?x=1')</script>"),
        "autoscaler doctor https://b.example.com/app",
    ),
    "a page that embeds an app of its own host": (
        (200, {}, '<script src="/sub/app/autoload.js?x=1"></script>'),
        "/sub/app",
    ),
}


@pytest.mark.parametrize("case", INSTEAD)
def test_what_answers_instead_of_the_app_has_its_own_fix(case: str) -> None:
    answer, fix = INSTEAD[case]

    with answering(lambda *_: answer) as (port, _):
        seen = visit(f"http://127.0.0.1:{port}/page", {}, 0.0, lambda _: None)

    said = found(Facts(visit=seen))
    assert list(said) == ["not-a-bokeh-page"]
    assert fix in said["not-a-bokeh-page"].fix


def test_a_redirect_is_followed_and_its_end_is_named() -> None:
    def to_login(_: int, path: str) -> Answer:
        return (302, {"Location": "/login"}, "") if path == "/app" else (200, {}, "<form>")

    with answering(to_login) as (port, _):
        seen = visit(f"http://127.0.0.1:{port}/app", {}, 0.0, lambda _: None)

    assert f"HTTP 200 from http://127.0.0.1:{port}/login" in (
        found(Facts(visit=seen))["not-a-bokeh-page"].where
    )


def test_a_certificate_that_is_not_trusted_is_said_with_the_way_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    key = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost")
    subprocess.run([*key, "-keyout", "key", "-out", "cert"], cwd=tmp_path, check=True)
    capfd.readouterr()
    port = free_port()
    tls = ("--ssl-certfile", "cert", "--ssl-keyfile", "key")
    (tmp_path / "app.py").write_text("")
    command = [str(BIN / "bokeh"), "serve", "app.py", "--port", str(port), *tls]
    with served(tmp_path, command, port=port):
        wait_until(lambda: listens(port), "the server to listen")
        seen = visit(f"https://localhost:{port}/app", {}, 0.0, lambda _: None)

    assert "SSL_CERT_FILE" in seen.problem
    assert capfd.readouterr().err == ""


def test_a_session_that_the_user_chose_is_no_session_of_others(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, *LONG, "--session-ids", "unsigned") as server:
        server.wait_workers(1)

        assert look(f"{server.url}?bokeh-session-id=mine") == []


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
