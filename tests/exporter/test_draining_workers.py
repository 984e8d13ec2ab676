"""A worker that was told to drain takes no new sessions; those that exist go on."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

import pytest
from bokeh.util.token import generate_jwt_token, generate_session_id
from tornado.httpclient import HTTPClientError

from tests.exporter import agent_socket
from tests.exporter.carriers import DJANGO, MOUNTED, PANEL_ON_FASTAPI, UVICORN, carried
from tests.lab.bokeh_servers import APP, BIN, Served, bokeh_serve, free_port, served, wait_until
from tests.lab.websocket_user import User, Users, token_in

pytestmark = pytest.mark.slow

BOKEH = [str(BIN / "bokeh"), "serve", "main.py", "--port", "{port}"]
PANEL = [str(BIN / "panel"), "serve", "main.py", "--port", "{port}"]
PANEL_APP = "import panel as pn\npn.panel('hello').servable()\n"
# By itself uvicorn closes a connection that is not used for five seconds.
KEPT_ALIVE = [*UVICORN, "--timeout-keep-alive", "60"]
CARRIERS = {
    "bokeh serve": (APP, BOKEH, "/main"),
    "panel serve": (PANEL_APP, PANEL, "/main"),
    "Panel on FastAPI": (PANEL_ON_FASTAPI, KEPT_ALIVE, "/app"),
    "bokeh-fastapi in a mounted app": (MOUNTED, KEPT_ALIVE, "/inner/app"),
    "Django and Channels": (DJANGO, KEPT_ALIVE, "/app"),
}
SLOW_AT_FIRST = """
import pathlib, time

if not pathlib.Path("begun").exists():
    pathlib.Path("begun").touch()
    time.sleep(31)
"""
EXPIRED = "Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax"


class Browser:
    """One kept-alive connection."""

    def __init__(self, server: Served) -> None:
        self._connection = http.client.HTTPConnection(urlparse(server.url).netloc, timeout=20)

    def get(self, path: str) -> http.client.HTTPResponse:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        answer.read()
        return answer

    def is_closed(self) -> bool:
        return self._connection.sock is None

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Draining:
    """A server that was told to drain, and what was there before.

    user: connected. loading: the token of a page whose WebSocket is still to come. elsewhere: one
    of another server's page. opened, kept: connections, the second one used for what makes no
    session, at `path`.
    """

    server: Served
    route: str
    path: str
    users: Users
    user: User
    loading: str
    elsewhere: str
    opened: Browser
    kept: Browser


@pytest.fixture(scope="module", params=CARRIERS.values(), ids=CARRIERS)
def draining(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Draining]:
    """One server of each kind for all tests that ask for it."""
    script, command, route = request.param
    path = {BOKEH[0]: f"{route}/metadata", PANEL[0]: f"{route}/metadata"}.get(command[0], "/health")
    folder = tmp_path_factory.mktemp("draining")
    with carried(folder, script, command, route=route) as server, Users() as users:
        server.wait_workers(1, 60)
        loading = token_in(users.get(server.url))
        elsewhere = generate_jwt_token(generate_session_id())
        user = users.join(server.url)
        with closing(Browser(server)) as opened, closing(Browser(server)) as kept:
            assert kept.get(path).status == 200
            assert not kept.is_closed()
            agent_socket.drain(server)
            yield Draining(server, route, path, users, user, loading, elsewhere, opened, kept)


def test_new_pages_are_refused_and_existing_sessions_go_on(draining: Draining) -> None:
    server, users = draining.server, draining.users
    refused = draining.opened.get(draining.route)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert refused.headers["Connection"].lower() == "close"
    cookies = refused.headers.get_all("Set-Cookie")
    assert cookies == [f"{name}=; {EXPIRED}" for name in ("sticky_pod", "sticky_fresh")]
    assert draining.opened.is_closed()

    users.ask(draining.user)  # the session goes on
    users.connect(server.url, draining.loading)  # the page that was on its way arrives
    wait_until(lambda: server.connected() == 2, "both users to be counted")
    assert agent_socket.report(server)["draining"] is True


def test_what_makes_no_session_is_answered_and_its_connection_closed(draining: Draining) -> None:
    last = draining.kept.get(draining.path)
    assert (last.status, last.headers["Connection"].lower()) == (200, "close")
    assert last.headers["Set-Cookie"] is None
    assert draining.kept.is_closed()


def test_a_websocket_of_an_unknown_session_is_refused_before_its_handshake(
    draining: Draining,
) -> None:
    before = draining.server.connected()
    with pytest.raises(HTTPClientError, match="503"):
        draining.users.connect(draining.server.url, draining.elsewhere)
    assert draining.server.connected() == before


def test_a_broken_connection_is_taken_up_again(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path) as server, Users() as users:
        server.wait_workers(1, 60)
        token = token_in(users.get(server.url))
        user = users.connect(server.url, token)
        agent_socket.drain(server)
        users.leave(user)
        users.connect(server.url, token)
        page = users.get(f"{server.url}?bokeh-token={token}")
        users.connect(server.url, token_in(page))
        wait_until(lambda: server.state()["connections"]["live"] == 2, "both to be counted")
        assert server.value('bokeh_sessions_created_total{app="/app"}') == 1


def test_a_page_from_a_session_that_panel_reuses_is_refused_like_any_new_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "app.py").write_text(PANEL_APP)
    port = free_port()
    command = [str(BIN / "panel"), "serve", "app.py", "--port", str(port), "--reuse-sessions"]
    with served(tmp_path, command, port=port) as server, Users() as users:
        server.wait_workers(1, 60)
        users.join(server.url)
        loading = token_in(users.get(server.url))
        agent_socket.drain(server)
        with pytest.raises(HTTPClientError, match="503"):
            users.get(server.url)
        users.connect(server.url, loading)
        wait_until(lambda: server.state()["connections"]["live"] == 2, "both to be counted")


def test_the_names_of_cookies_are_the_operators(tmp_path: Path) -> None:
    names = {"BOKEH_EXPORTER_AFFINITY_COOKIES": "AWSALB, bkaff"}
    with bokeh_serve(tmp_path, environment=names) as server:
        server.wait_workers(1, 60)
        agent_socket.drain(server)
        browser = Browser(server)
        cookies = browser.get("/app").headers.get_all("Set-Cookie")
        assert cookies == [f"AWSALB=; {EXPIRED}", f"bkaff=; {EXPIRED}"]


def test_a_page_of_one_worker_arrives_at_another_that_drains(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, "--num-procs", "3") as server, Users() as users:
        server.wait_workers(3, 60)
        tokens = [token_in(users.get(server.url)) for _ in range(6)]
        agent_socket.drain(server)
        for token in tokens:  # most go to another worker than their page came from
            users.connect(server.url, token)
        wait_until(lambda: server.connected() == 6, "all six to be counted")
        with pytest.raises(HTTPClientError, match="503"):
            users.get(server.url)


def test_a_page_that_was_computed_for_long_arrives_at_another_worker_that_drains(
    tmp_path: Path,
) -> None:
    three = bokeh_serve(tmp_path, "--num-procs", "3", app=SLOW_AT_FIRST)
    with three as server, Users(patience=60) as users:
        server.wait_workers(3, 60)
        with ThreadPoolExecutor() as pool:
            page = pool.submit(users.get, server.url)
            wait_until((tmp_path / "begun").exists, "the page's computation")
            agent_socket.drain(server)
            token = token_in(page.result())
        for _ in range(6):  # most go to another worker than the page came from
            users.leave(users.connect(server.url, token))
