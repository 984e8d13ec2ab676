"""Whoever has no connection yet, or never will: pages on their way, requests, other WebSockets."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

import pytest
from bokeh.util.token import generate_session_id

from tests.exporter import agent_socket
from tests.exporter.carriers import DJANGO, MOUNTED, PANEL_ON_FASTAPI, UVICORN, carried
from tests.lab.bokeh_servers import BIN, QUICK, Served, bokeh_serve, free_port, served, wait_until
from tests.lab.websocket_user import Users, token_in

pytestmark = pytest.mark.slow

TORNADO = [BIN / "python", "main.py", "{port}"]
BESIDE = """
import asyncio, sys
from bokeh.models import Div
from bokeh.server.server import Server
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler

class Export(RequestHandler):
    async def get(self):
        for number in range(80):
            self.write(f"data: {number}\\n\\n")
            await self.flush()
            await asyncio.sleep(0.1)

class Big(RequestHandler):
    def get(self):
        self.write(b"x" * int(self.get_argument("size", "50000000")))

class Chat(WebSocketHandler):
    def on_message(self, message):
        self.write_message(message)

def page(document):
    document.add_root(Div(text="hello"))

patterns = [("/export", Export), ("/big", Big), ("/chat", Chat)]
Server({"/app": page}, port=int(sys.argv[1]), extra_patterns=patterns).run_until_shutdown()
"""
LARGE_PAGE = """
from bokeh.io import curdoc
from bokeh.models import Div

curdoc().title = "x" * {title}
curdoc().add_root(Div(text="hello"))
"""
SAVING = """
import time

def on_session_destroyed(context):
    time.sleep(4)
"""
PANEL = "import panel as pn\npn.panel('hello').servable()\n"
HANDSHAKE = (
    "GET /chat HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def tornado_command() -> list[str]:
    return [str(word) for word in TORNADO]


def requests_of(server: Served) -> int:
    return int(agent_socket.report(server)["requests"])


def opening(server: Served) -> int:
    apps = agent_socket.report(server)["apps"].values()
    return sum(int(app["opening"]) for app in apps)


@contextmanager
def reading(server: Served, path: str) -> Iterator[http.client.HTTPResponse]:
    """A client that has got the head of an answer and takes no more of it."""
    connection = http.client.HTTPConnection(urlparse(server.url).netloc, timeout=20)
    connection.request("GET", path)
    try:
        yield connection.getresponse()
    finally:
        connection.close()


STREAMS = {
    "beside Bokeh's server": (BESIDE, tornado_command(), "/app"),
    "FastAPI": (PANEL_ON_FASTAPI, UVICORN, "/app"),
    "FastAPI above the one of Bokeh": (MOUNTED, UVICORN, "/inner/app"),
    "Django": (DJANGO, UVICORN, "/app"),
}


TORNADO_AND_FASTAPI = list(STREAMS)[:2]


@pytest.fixture(scope="module", params=STREAMS)
def streaming(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """One server of each kind for all tests that ask for it and end no server."""
    script, command, route = STREAMS[request.param]
    with carried(tmp_path_factory.mktemp("streaming"), script, command, route=route) as server:
        server.wait_workers(1, 60)
        yield server


@pytest.fixture(scope="module")
def began() -> float:
    """When the shared servers were yet to be started, on the monotonic clock."""
    return time.monotonic()


@pytest.fixture(scope="module")
def shared_app(began: float, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with bokeh_serve(tmp_path_factory.mktemp("app")) as server:
        server.wait_workers(1, 60)
        yield server


@pytest.fixture
def app(shared_app: Served) -> Served:
    """`bokeh serve` of one worker, with no page on its way; no test ends it."""
    wait_until(lambda: opening(shared_app) == 0, "the pages of other tests to be over")
    return shared_app


def test_a_stream_of_events_is_a_request_in_flight_as_long_as_it_lasts(streaming: Served) -> None:
    wait_until(lambda: requests_of(streaming) == 0, "no request")
    with reading(streaming, "/export") as stream:
        assert stream.status == 200
        assert stream.read(7) == b"data: 0"
        assert requests_of(streaming) == 1
    wait_until(lambda: requests_of(streaming) == 0, "the server to miss its reader")


@pytest.mark.parametrize(
    ("script", "command", "route"),
    [STREAMS[name] for name in TORNADO_AND_FASTAPI],
    ids=TORNADO_AND_FASTAPI,
)
def test_an_export_that_runs_when_sigterm_comes_is_sent_completely(
    tmp_path: Path, script: str, command: list[str], route: str
) -> None:
    soon = ("--reconnect", "1s")
    with carried(tmp_path, script, command, route=route, options=soon) as server:
        server.wait_workers(1, 60)
        with reading(server, "/export") as stream:
            assert stream.read(7) == b"data: 0"
            server.terminate()
            rest = stream.read()  # takes 8 s
            assert rest.rstrip().endswith(b"data: 79")
        assert server.exit_code() == 0
        assert "HTTP requests: 1" in server.output


@pytest.mark.parametrize("streaming", TORNADO_AND_FASTAPI[:1], indirect=True)
def test_a_download_is_in_flight_until_its_last_byte_is_taken(streaming: Served) -> None:
    with reading(streaming, "/big") as download:
        time.sleep(1)  # the handler has long ended
        assert requests_of(streaming) == 1
        assert len(download.read()) == 50_000_000
        wait_until(lambda: requests_of(streaming) == 0, "the download to be over")


@pytest.mark.parametrize("close", [True, False], ids=["closed by the server", "kept alive"])
def test_a_slow_client_gets_the_bytes_that_the_kernel_has_before_a_drain_ends(
    tmp_path: Path, close: bool
) -> None:
    size, kept = 2_000_000, "close" if close else "keep-alive"
    ask = f"GET /big?size={size} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: {kept}\r\n\r\n"
    soon = ("--reconnect", "1s")
    ours = carried(tmp_path, BESIDE, tornado_command(), options=soon)
    with ours as server, socket.socket() as client:
        server.wait_workers(1, 60)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        client.settimeout(20)
        client.connect(("127.0.0.1", urlparse(server.url).port or 0))
        client.sendall(ask.encode())
        taken = len(client.recv(1_000))
        wait_until(lambda: requests_of(server) == 0, "the whole answer to be written")
        server.terminate()
        while taken < size:
            assert server.launcher.poll() is None, f"it ended with {size - taken} bytes to deliver"
            taken += len(client.recv(50_000))
            time.sleep(0.05)
        assert server.exit_code() == 0


@pytest.mark.timing_sensitive
def test_a_page_that_a_slow_client_received_for_long_opens_its_websocket_in_a_drain(
    tmp_path: Path,
) -> None:
    title = "x" * 1_500_000  # more than half a minute for this client, and fits into the kernel
    script = LARGE_PAGE.format(title=len(title))
    quick = (*QUICK, "--session-token-expiration", "600")
    ours = bokeh_serve(tmp_path, *quick, app=script, options=("--reconnect", "5s"))
    with ours as server, socket.socket() as client, Users() as users:
        server.wait_workers(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        client.settimeout(20)
        client.connect(("127.0.0.1", urlparse(server.url).port or 0))
        client.sendall(b"GET /app HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        page = client.recv(1_000)
        wait_until(lambda: opening(server) == 1, "the whole page to be written")
        server.terminate()
        while received := client.recv(20_000):
            page += received
            time.sleep(0.5)
        assert len(page) > len(title)
        wait_until(lambda: opening(server) == 0, "half a minute since it was written")
        time.sleep(2)
        user = users.connect(server.url, token_in(page.decode()))
        assert users.is_connected(user)
        users.leave(user)
        assert server.exit_code() == 0


@pytest.mark.parametrize("streaming", TORNADO_AND_FASTAPI, indirect=True)
def test_a_websocket_that_is_not_bokehs_is_somebody(streaming: Served) -> None:
    where = ("127.0.0.1", urlparse(streaming.url).port or 0)
    with socket.create_connection(where, timeout=20) as chat:
        chat.sendall(HANDSHAKE.encode())
        assert chat.recv(12) == b"HTTP/1.1 101"
        assert requests_of(streaming) == 1
    wait_until(lambda: requests_of(streaming) == 0, "the chat to be over")


def test_a_slow_page_is_on_its_way_from_the_end_of_its_response(app: Served) -> None:
    with Users() as users, ThreadPoolExecutor() as pool:
        page = pool.submit(users.get, app.url, busy="3")
        wait_until(lambda: requests_of(app) == 1, "the page to be asked for")
        assert opening(app) == 0
        token = token_in(page.result())
        wait_until(lambda: opening(app) == 1, "the page to be on its way")
        user = users.connect(app.url, token)
        assert opening(app) == 0
        users.leave(user)
        assert opening(app) == 0


def test_a_page_on_its_way_counts_for_half_a_minute_though_its_session_is_discarded(
    tmp_path: Path,
) -> None:
    with bokeh_serve(tmp_path, *QUICK) as server, Users() as users:
        server.wait_workers(1, 60)
        began = time.monotonic()
        users.get(server.url)
        destroyed = 'bokeh_sessions_destroyed_total{app="/app"}'
        wait_until(lambda: server.value(destroyed) == 1, "the session to be discarded")
        assert opening(server) == 1
        wait_until(lambda: opening(server) == 0, "the page to be given up", 40)
        assert time.monotonic() - began >= 30


@pytest.mark.parametrize("reuse", ["--reuse-sessions", "--warm"])
def test_a_page_from_an_existing_session_is_on_its_way_too(tmp_path: Path, reuse: str) -> None:
    (tmp_path / "app.py").write_text(PANEL)
    port = free_port()
    command = [str(BIN / "panel"), "serve", "app.py", "--port", str(port), "--reuse-sessions"]
    command += [] if reuse == "--reuse-sessions" else [reuse]
    with served(tmp_path, command, port=port) as server, Users() as users:
        server.wait_workers(1, 60)
        for _ in range(3):
            page = users.get(server.url)
            wait_until(lambda: opening(server) == 1, "the page to be on its way")
            user = users.connect(server.url, token_in(page))
            assert opening(server) == 0
            users.leave(user)
        wait_until(lambda: server.connected() == 0, "the users to be gone")
        assert server.state()["sessions"]["blocked"] == 0  # Panel's cache is no work


@pytest.mark.parametrize(
    "page",
    ["?bokeh-session-id={}", "/autoload.js?bokeh-autoload-element=x&bokeh-session-id={}"],
    ids=["by session id", "script of server_document"],
)
def test_a_page_that_asks_for_a_session_is_on_its_way(app: Served, page: str) -> None:
    session = generate_session_id()
    with Users() as users:
        for _ in range(2):  # the session is new, then it exists
            token = token_in(users.get(app.url + page.format(session)).replace('\\"', '"'))
            wait_until(lambda: opening(app) == 1, "the page to be on its way")
            user = users.connect(app.url, token)
            assert opening(app) == 0
            users.leave(user)


def test_a_page_that_opens_at_another_worker_is_not_on_its_way_any_more(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, "--num-procs", "4") as server, Users() as users:
        server.wait_workers(4)
        there = [users.join(server.url) for _ in range(8)]
        assert len(there) == server.connected() == 8

        def on_their_way() -> int:
            return int(server.state()["sessions"]["opening"])

        wait_until(lambda: on_their_way() == 0, "the workers to tell each other", 10)


def test_a_request_is_seen_from_its_head_not_from_its_kept_alive_connection(app: Served) -> None:
    with reading(app, "/app/metadata") as answer:
        answer.read()
        wait_until(lambda: requests_of(app) == 0, "the connection to idle")


def test_the_agent_tells_its_sockets_ports_and_since_when_it_serves(
    app: Served, began: float
) -> None:
    with Users() as users:
        before = set(agent_socket.report(app)["sockets"])
        users.join(app.url)
        told = agent_socket.report(app)
        with Path("/proc/net/tcp").open() as table:
            rows = [line.split() for line in table.readlines()[1:]]
        port = f":{urlparse(app.url).port:04X}"
        ours = [(row[3], int(row[9])) for row in rows if row[1].endswith(port)]
        users_own = {inode for state, inode in ours if state == "01"} - before  # established
        assert users_own
        assert users_own <= set(told["sockets"])
        assert {inode for state, inode in ours if state == "0A"} <= before  # listening
        assert told["apps"]["/app"]["ports"] == [urlparse(app.url).port]
        assert told["watching"] is True
        assert 0 < told["started_age_s"] < time.monotonic() - began


def test_an_application_that_still_saves_what_an_ended_session_did_is_at_work(
    tmp_path: Path,
) -> None:
    port = free_port()
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("")
    (tmp_path / "app" / "app_hooks.py").write_text(SAVING)
    command = [str(BIN / "bokeh"), "serve", "app", "--port", str(port), *QUICK]
    with served(tmp_path, command, port=port) as server, Users() as users:
        server.wait_workers(1)
        users.leave(users.join(server.url))
        blocked = lambda: server.state()["sessions"]["blocked"]  # noqa: E731
        wait_until(lambda: blocked() == 1, "the hook to begin")
        wait_until(lambda: blocked() == 0, "the hook to end")
