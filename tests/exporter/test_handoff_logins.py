"""Users who must log in to four workers behind one port, in all ways that Bokeh and Panel have."""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest
from tornado.httpclient import HTTPClientError

from tests.lab.bokeh_servers import PATIENCE, Served, free_port, served
from tests.lab.websocket_user import Users, token_in

pytestmark = [pytest.mark.slow, pytest.mark.mostly_idle]

WORKERS, BROWSERS = 4, 6
FORM = {"username": "me", "password": "known"}

BOKEH_APP = """
from bokeh.io import curdoc
from bokeh.models import Div
curdoc().add_root(Div(text="hello"))
"""
PANEL_APP = """
import panel as pn
pn.pane.Markdown(f"user {pn.state.user}").servable()
"""
PN_SERVE = """
import sys
import panel as pn

def page():
    return pn.pane.Markdown(f"user {pn.state.user}")

pn.serve({"app": page}, port=int(sys.argv[1]), address="127.0.0.1", num_procs=4, show=False,
         basic_auth={"me": "known"}, cookie_secret="none of your business")
"""
# Bokeh's own way, with cookies that are signed. FIND_USER is one of two kinds of function.
MODULE = """
from tornado.web import RequestHandler

login_url, logout_url = "/login", "/logout"

FIND_USER

class LoginHandler(RequestHandler):
    def get(self):
        self.write(self.xsrf_form_html())

    def post(self):
        if self.get_body_argument("password") != "known":
            self.send_error(403)
            return
        self.set_signed_cookie("user", self.get_body_argument("username"))
        self.redirect("/app")

class LogoutHandler(RequestHandler):
    def get(self):
        self.clear_cookie("user")
        self.redirect("/login")
"""
SYNC = 'def get_user(handler):\n    return handler.get_signed_cookie("user")'
ASYNC = f"""import asyncio
async def get_user_async(handler):
    await asyncio.sleep(0.05)
    return {SYNC.rpartition("return ")[2]}"""


@dataclass
class Browser:
    """One browser: its cookies, and a new connection for each request, to whichever worker."""

    url: str
    jar: SimpleCookie = field(default_factory=SimpleCookie)

    def ask(self, url: str, form: dict[str, str] | None = None) -> tuple[int, str, str]:
        """Status, address of a redirect, and body. form: what to post."""
        target = urljoin(self.url, url)
        parts = urlsplit(target)
        headers = {"Cookie": "; ".join(f"{c.key}={c.coded_value}" for c in self.jar.values())}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = None if form is None else urlencode(form)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        with closing(http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)) as connection:
            connection.request("GET" if form is None else "POST", path, body, headers)
            answer = connection.getresponse()
            self._keep(answer.headers.get_all("Set-Cookie", []))
            text = answer.read().decode()
        return answer.status, urljoin(target, answer.headers.get("Location", "")), text

    def _keep(self, cookies: list[str]) -> None:
        for line in cookies:
            self.jar.load(line)
        for name in [name for name, cookie in self.jar.items() if not cookie.value]:
            del self.jar[name]

    def follow(self, url: str, form: dict[str, str] | None = None) -> tuple[int, str, str]:
        """The last address, where no redirect leads further, in place of that of a redirect."""
        for _ in range(8):
            status, further, text = self.ask(url, form)
            if not 300 <= status < 400:
                return status, urljoin(self.url, url), text
            url, form = further, None
        raise AssertionError(f"redirected for ever, to {url}")

    def log_in(self) -> str:
        """Fill in the form that the app's page leads to, if there is one; the page."""
        _, form_at, form = self.follow(self.url)
        if "user" in self.jar:  # a provider already knows them
            return form
        assert urlsplit(form_at).path == "/login"
        hidden = {"_xsrf": self.jar["_xsrf"].value} if "_xsrf" in form else {}
        status, at, page = self.follow(form_at, {**FORM, **hidden})
        assert (status, urlsplit(at).path) == (200, "/app"), at
        return page


def assert_each_user_has_one_session(server: Served, users: Users) -> None:
    """Users log in, connect, reconnect and log out; nobody gets in without."""
    browsers = [Browser(server.url) for _ in range(BROWSERS)]
    tokens = []
    for browser in browsers:
        tokens.append(token_in(browser.log_in()))
        with pytest.raises((ConnectionError, HTTPClientError)):  # a token alone is not enough
            users.connect(server.url, tokens[0])
        users.leave(users.connect(server.url, tokens[-1], jar=browser.jar))
        users.connect(server.url, tokens[-1], jar=browser.jar)
    server.wait_workers(WORKERS)
    assert server.value('bokeh_sessions_created_total{app="/app"}') == BROWSERS
    assert server.value('bokeh_connections_opened_total{app="/app"}') == 2 * BROWSERS
    assert server.value('bokeh_connections_handed_total{request="websocket"}') >= 1
    assert server.connected() == BROWSERS
    assert server.state()["sessions"]["opening"] == 0
    for browser in browsers:
        browser.ask("/logout")
        assert "user" not in browser.jar
        status, at, _ = browser.ask(server.url)
        assert (status, urlsplit(at).path) == (302, "/login")


@contextmanager
def launched(folder: Path, command: list[str], port: int, **environment: str) -> Iterator[Served]:
    line = [sys.executable, *command]
    with served(folder, line, port=port, environment=environment) as server:
        server.wait_workers(WORKERS, 60)
        yield server


def serve(program: str, port: int, *arguments: str) -> list[str]:
    where = ["--port", str(port), "--num-procs", str(WORKERS)]
    keep = ["--unused-session-lifetime", "3600000"]
    secret = ["--cookie-secret", "none of your business"]
    return ["-m", program, "serve", "app.py", *where, *keep, *secret, *arguments]


@pytest.mark.parametrize("find_user", [SYNC, ASYNC], ids=["get_user", "get_user_async"])
def test_bokehs_module_with_signed_cookies_and_protected_forms(
    tmp_path: Path, find_user: str
) -> None:
    (tmp_path / "auth.py").write_text(MODULE.replace("FIND_USER", find_user))
    (tmp_path / "app.py").write_text(BOKEH_APP)
    port = free_port()
    options = ("--auth-module", "auth.py", "--enable-xsrf-cookies")
    with launched(tmp_path, serve("bokeh", port, *options), port) as server, Users() as users:
        assert_each_user_has_one_session(server, users)
        wrong = Browser(server.url)
        _, form_at, _ = wrong.follow(server.url)
        assert wrong.ask(form_at, FORM)[0] == 403  # without the form's secret
        secret = {"_xsrf": wrong.jar["_xsrf"].value}
        assert wrong.ask(form_at, {**FORM, **secret, "password": "guessed"})[0] == 403
        assert wrong.ask(server.url)[0] == 302


def test_panels_basic_authentication(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PANEL_APP)
    (tmp_path / "known.json").write_text(json.dumps({"me": "known"}))
    port = free_port()
    command = serve("panel", port, "--basic-auth", "known.json")
    with launched(tmp_path, command, port) as server, Users() as users:
        assert_each_user_has_one_session(server, users)


def test_basic_authentication_of_pn_serve(tmp_path: Path) -> None:
    (tmp_path / "serve.py").write_text(PN_SERVE)
    port = free_port()
    with launched(tmp_path, ["serve.py", str(port)], port) as server, Users() as users:
        assert_each_user_has_one_session(server, users)


class Provider(BaseHTTPRequestHandler):
    """A company's own OAuth server, which knows everybody: they need fill in nothing."""

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if self.path.startswith("/user"):
            assert self.headers["Authorization"] == "Bearer allowed"
            self._say({"email": "me@example.org"})
            return
        back = urlencode({"code": "fresh", "state": asked["state"]})
        self.send_response(302)
        self.send_header("Location", f"{asked['redirect_uri']}?{back}")
        self.end_headers()

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        assert (form["code"], form["client_secret"]) == (["fresh"], ["ours"])
        self._say({"access_token": "allowed", "expires_in": 3600})

    def _say(self, values: dict[str, object]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(values).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[str]:
    """The address of a provider that runs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_panels_login_by_an_oauth_provider(tmp_path: Path, provider: str) -> None:
    (tmp_path / "app.py").write_text(PANEL_APP)
    port = free_port()
    command = serve(
        "panel", port, "--oauth-provider", "generic", "--oauth-key", "app", "--oauth-secret",
        "ours", "--oauth-redirect-uri", f"http://127.0.0.1:{port}/login",
    )  # fmt: skip
    addresses = {
        "PANEL_OAUTH_AUTHORIZE_URL": f"{provider}/authorize",
        "PANEL_OAUTH_TOKEN_URL": f"{provider}/token",
        "PANEL_OAUTH_USER_URL": f"{provider}/user",
    }
    with launched(tmp_path, command, port, **addresses) as server, Users() as users:
        assert_each_user_has_one_session(server, users)
