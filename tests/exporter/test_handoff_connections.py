"""What a connection that is handed to another worker keeps, and which ones are not handed."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
from contextlib import ExitStack
from http.cookies import SimpleCookie
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlparse

import pytest
from bokeh.util.token import generate_session_id

from tests.exporter import agent_socket
from tests.exporter.carriers import MOUNTED, UVICORN, carried
from tests.exporter.handing import (
    MARKED,
    WORKERS,
    Shared,
    connected_to,
    created,
    handed,
    join_all,
    mark,
    requests,
    scripted,
    workers,
)
from tests.lab.bokeh_servers import (
    BIN,
    PATIENCE,
    Served,
    free_port,
    served,
    wait_until,
)
from tests.lab.websocket_user import Users, token_in

pytestmark = [pytest.mark.slow, pytest.mark.mostly_idle]


ROUTED = """
import os, sys, uuid
from bokeh.models import Div
from bokeh.server.server import Server
from tornado.web import RequestHandler

def page(document):
    request = document.session_context.request
    text = f"mark-{uuid.uuid4().hex}-{os.getpid()}-{request.remote_ip} {request.protocol}"
    document.add_root(Div(text=text))

class Own(RequestHandler):
    def get(self):
        self.write(str(os.getpid()))

Server(
    {"/app": page}, port=int(sys.argv[1]), num_procs=4, prefix="/pre", use_xheaders=True,
    extra_patterns=[("/own", Own), ("/app/own", Own)], address=sys.argv[2],
    websocket_compression_level=6, allow_websocket_origin=["*"],
).run_until_shutdown()
"""
AUTH = """
def get_user(request):
    name = request.cookies.get("name")
    return name.value if name is not None else None

login_url = "/login"

from tornado.web import RequestHandler

class LoginHandler(RequestHandler):
    def get(self):
        self.set_cookie("name", "me")
        self.write("welcome")
"""


@pytest.mark.timing_sensitive  # a worker that takes no page within 0.1 s gets a later one
def test_a_kept_alive_connection_moves_as_often_as_its_requests_ask_for(tmp_path: Path) -> None:
    with workers(tmp_path) as server, Users() as users:
        homes = []
        with connected_to(server) as connection:
            for _ in range(12):
                connection.request("GET", "/app")
                sock = connection.sock
                token = token_in(connection.getresponse().read().decode())
                assert connection.sock is sock  # one connection for all
                homes.append(mark(users, users.connect(server.url, token))[1])
                connection.request("GET", "/app/metadata")
                assert connection.getresponse().read()
        assert created(server) == 12
        assert sorted(homes.count(home) for home in set(homes)) == [3, 3, 3, 3]


def test_pipelined_requests_are_answered_in_their_order(shared: Shared) -> None:
    place = urlparse(shared.server.url)
    host = f"Host: {place.netloc}\r\n\r\n"
    for _ in range(4):
        first, second = generate_session_id(), generate_session_id()
        with socket.create_connection((place.hostname, place.port), PATIENCE) as client:
            one = f"GET /app?bokeh-session-id={first} HTTP/1.1\r\n{host}"
            two = f"GET /app/metadata HTTP/1.1\r\n{host}"
            three = f"GET /app?bokeh-session-id={second} HTTP/1.1\r\n"
            client.sendall((one + two + one + three).encode())
            client.sendall(f"Connection: close\r\n{host}".encode())
            answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        parts = answer.split("HTTP/1.1 200 OK")[1:]
        kinds = [re.search(r"Content-Type: (\S+?)[;\r]", part) for part in parts]
        assert [kind and kind[1] for kind in kinds] == [
            "text/html", "application/json", "text/html", "text/html",
        ]  # fmt: skip
    assert shared.created == 8


def odd_token(session: str) -> str:
    """A token as Bokeh signs none: its session ID is no text that can be encoded."""
    said = json.dumps({"session_id": f"\ud800{session}", "session_expiry": 4_000_000_000})
    return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")


LONG_HEAD = f"X:{'y' * 90}\r\n" * 693  # as Tornado allows, which it would not be with blanks


@pytest.mark.parametrize(
    ("number", "targets", "head"),
    [
        pytest.param(1, ["/app?bokeh-token={token}"], "", id="an ID that is no text"),
        pytest.param(
            1,
            ["/app?bokeh-session-id={session}", "/app?bokeh-session-id=%20{session}%01"],
            "",
            id="an ID with blanks, which Tornado removes",
        ),
        pytest.param(8, ["/app"], LONG_HEAD, id="a head as long as Tornado allows"),
    ],
)
def test_requests_that_no_browser_sends_are_answered_as_by_stock_bokeh(
    shared: Shared, number: int, targets: list[str], head: str
) -> None:
    server = shared.server
    place, session = urlparse(server.url), generate_session_id()
    names = {"session": session, "token": odd_token(session)}
    for _, target in zip(range(8), cycle(targets), strict=False):
        with socket.create_connection((place.hostname, place.port), PATIENCE) as client:
            lines = f"Host: {place.netloc}\r\nConnection: close\r\n{head}"
            client.sendall(f"GET {target.format(**names)} HTTP/1.1\r\n{lines}\r\n".encode())
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200")
    assert shared.created == number
    wait_until(lambda: requests(server) == 0, "no request")
    assert sum(told["apps"]["/app"]["pending"] for told in agent_socket.reports(server)) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT ROOT: only root may become another user")
def test_workers_that_become_another_user_hand_connections_over() -> None:
    becomes = "import os\nos.seteuid(65534)\n"
    with TemporaryDirectory() as name, Users() as users, ExitStack() as stack:
        Path(name).chmod(0o755)  # that user may look into it
        server = stack.enter_context(workers(Path(name), first=becomes))
        there = join_all(users, server.url)
        again = [users.connect(server.url, token) for token, _ in there]
        assert [mark(users, user) for user in again] == [mark(users, user) for _, user in there]
        assert created(server) == len(there)


def test_a_server_on_a_unix_socket_says_once_that_nothing_is_handed(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(MARKED)
    path = tmp_path / "socket"
    command = [str(BIN / "bokeh"), "serve", "app.py", "--unix-socket", str(path)]
    command += ["--num-procs", str(WORKERS)]
    with served(tmp_path, command, port=free_port()) as server:
        server.wait_workers(WORKERS, 60)
        once = "no hand-off between workers"
        wait_until(lambda: once in server.output, "one of them to say so")
        assert server.output.count(once) == 1


def test_prefix_compression_proxy_headers_and_own_handlers(tmp_path: Path) -> None:
    with scripted(tmp_path, ROUTED, "127.0.0.1", route="/pre/app") as server, Users() as users:
        marks = []
        for number in range(8):
            headers = {"X-Forwarded-For": f"10.1.2.{number}", "X-Forwarded-Proto": "https"}
            with connected_to(server) as connection:
                connection.request("GET", "/pre/app", headers=headers)
                token = token_in(connection.getresponse().read().decode())
                for own in ("/pre/own", "/pre/app/own"):
                    connection.request("GET", own)
                    assert connection.getresponse().read().isdigit()
            user = users.connect(server.url, token)
            marks.append(mark(users, user))
            assert f"-10.1.2.{number} https" in json.dumps(users.document(user))
            assert extensions(server, token).startswith("permessage-deflate")
        assert len(set(marks)) == 8
        assert created(server) == 8


def extensions(server: Served, token: str) -> str:
    """What a page's second WebSocket agrees on with the server."""
    place = urlparse(server.url)
    head = [
        f"GET {place.path}/ws HTTP/1.1", f"Host: {place.netloc}", "Upgrade: websocket",
        "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Sec-WebSocket-Protocol: bokeh, {token}",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    ]  # fmt: skip
    with socket.create_connection((place.hostname, place.port), PATIENCE) as client:
        client.sendall("\r\n".join([*head, "", ""]).encode())
        answer = client.recv(4096).decode("latin1")
    assert answer.startswith("HTTP/1.1 101")
    found = re.search(r"Sec-WebSocket-Extensions: (.*)\r\n", answer, re.IGNORECASE)
    return found[1] if found else ""


def test_users_who_log_in_and_those_who_do_not(tmp_path: Path) -> None:
    (tmp_path / "auth.py").write_text(AUTH)
    arguments = ("--auth-module", "auth.py", "--allow-websocket-origin", "*")
    with workers(tmp_path, *arguments) as server, Users() as users:
        for _ in range(8):
            with connected_to(server) as connection:
                connection.request("GET", "/app")
                refused = connection.getresponse()
                refused.read()
                assert refused.status == 302
                connection.request("GET", "/app", headers={"Cookie": "name=me"})
                token = token_in(connection.getresponse().read().decode())
            with pytest.raises(ConnectionError):
                users.connect(server.url, token)
            users.connect(server.url, token, jar=SimpleCookie("name=me"))
        assert created(server) == server.connected() == 8


def test_ipv6(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(MARKED)
    port = free_port()
    command = [str(BIN / "bokeh"), "serve", "app.py", "--port", str(port), "--address", "::1"]
    command += ["--num-procs", "4", "--allow-websocket-origin", "*"]
    with served(tmp_path, command, port=port) as server, Users() as users:
        server.wait_workers(WORKERS, 60)
        server.url = f"http://[::1]:{port}/app"
        there = join_all(users, server.url, 12)
        assert len({mark(users, user) for _, user in there}) == 12
        assert created(server) == 12


def test_a_server_that_ends_tls_itself_says_once_that_nothing_is_handed(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key))
    with workers(tmp_path, *tls) as server, Users(trusted=str(certificate)) as users:
        url = server.url.replace("http", "https", 1)
        token = token_in(users.get(url))
        users.connect(url, token)
        assert server.output.count("no hand-off between workers") == 1
        assert handed(server, "page") == handed(server, "websocket") == 0


def test_the_workers_of_uvicorn_say_once_that_nothing_is_handed(tmp_path: Path) -> None:
    command = [*UVICORN, "--workers", "2"]
    with carried(tmp_path, MOUNTED, command, route="/inner/app") as server, Users() as users:
        server.wait_workers(2, 60)
        users.join(server.url)
        assert server.output.count("no hand-off between workers") == 1


def test_only_the_workers_of_the_same_server_may_hand_it_a_connection(shared: Shared) -> None:
    server = shared.server
    with Users() as users:
        pids = {worker["pid"] for worker in server.state()["workers"]}
        sockets = re.findall(r"@(bokeh-exporter-handoff/\S+)", Path("/proc/net/unix").read_text())
        ours = {name for name in sockets if int(name.rpartition("/")[2]) in pids}
        assert len(ours) == WORKERS
        for name in ours:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
                stranger.settimeout(PATIENCE)
                stranger.connect(f"\0{name}")
                assert stranger.recv(1) == b""  # closed, and nothing is taken from it
        join_all(users, server.url, 4)
        assert shared.created == 4
