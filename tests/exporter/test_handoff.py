"""Four workers behind one port, and each user in one of them: real servers under the launcher."""

from __future__ import annotations

import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from tornado.httpclient import HTTPClientError
from tornado.iostream import StreamClosedError

from tests.exporter import agent_socket
from tests.exporter.carriers import MOUNTED, UVICORN, carried
from tests.lab.bokeh_servers import (
    BIN,
    PATIENCE,
    Served,
    free_port,
    served,
    wait_until,
)
from tests.lab.processes import stopped
from tests.lab.websocket_user import User, Users, token_in

pytestmark = [pytest.mark.slow, pytest.mark.mostly_idle]

WORKERS = 4
MANY = 24
ROOT = Path(__file__).parents[2]
CONTRACT = Path(__file__).with_name("handoff_contract.py")

# Each session has a mark of its own, with the process that it is in. ?imports=S takes so long in
# the first session of each worker.
MARKED = """
import os, sys, time, uuid
from bokeh.io import curdoc
from bokeh.models import Div

arguments = curdoc().session_context.request.arguments
if "imports" in arguments and "imported" not in sys.modules:
    sys.modules["imported"] = time
    time.sleep(float(arguments["imports"][0]))
if "busy" in arguments:
    time.sleep(float(arguments["busy"][0]))
curdoc().add_root(Div(text=f"mark-{uuid.uuid4().hex}-{os.getpid()}-"))
curdoc().on_message("sleep", time.sleep)
"""
PANEL_SERVE = """
import os, sys, uuid
import panel as pn

def page():
    return pn.pane.Markdown(f"mark-{uuid.uuid4().hex}-{os.getpid()}-")

pn.serve({"app": page}, port=int(sys.argv[1]), address="127.0.0.1", num_procs=4, show=False)
"""
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
MARK = re.compile(r"mark-([0-9a-f]{32})-(\d+)-")


@contextmanager
def workers(
    folder: Path,
    *arguments: str,
    server_of: str = "bokeh",
    python: str = sys.executable,
    **more: Any,
) -> Iterator[Served]:
    """`bokeh serve --num-procs 4` of an application with marks, or `panel serve`."""
    (folder / "app.py").write_text(MARKED)
    port = free_port()
    command = [python, "-m", server_of, "serve", "app.py", "--port", str(port)]
    command += ["--num-procs", str(WORKERS), "--unused-session-lifetime", "3600000", *arguments]
    with served(folder, command, port=port, **more) as server:
        server.wait_workers(WORKERS, 60)
        yield server


@contextmanager
def scripted(
    folder: Path, text: str, *words: str, address: str = "127.0.0.1", **more: Any
) -> Iterator[Served]:
    (folder / "serve.py").write_text(text)
    port = free_port()
    command = [sys.executable, "serve.py", str(port), *words]
    with served(folder, command, port=port, **more) as server:
        server.wait_workers(WORKERS, 60)
        yield server


def connected_to(server: Served) -> AbstractContextManager[http.client.HTTPConnection]:
    """One kept-alive connection."""
    return closing(http.client.HTTPConnection(urlparse(server.url).netloc, timeout=PATIENCE))


def join_all(users: Users, url: str, count: int = MANY) -> list[tuple[str, User]]:
    """Users who come at once, with the tokens by which their pages reconnect."""

    def join(_: int) -> tuple[str, User]:
        token = token_in(users.get(url))
        return token, users.connect(url, token)

    with ThreadPoolExecutor(6) as pool:
        return list(pool.map(join, range(count)))


def mark(users: Users, user: User) -> tuple[str, int]:
    """The session that a user is in, and its process."""
    found = MARK.search(json.dumps(users.document(user)))
    assert found is not None
    return found[1], int(found[2])


def created(server: Served) -> int:
    return int(server.value('bokeh_sessions_created_total{app="/app"}'))


def handed(server: Served, request: str) -> float:
    return server.value(f'bokeh_connections_handed_total{{request="{request}"}}')


def requests(server: Served) -> int:
    return sum(int(told["requests"]) for told in agent_socket.reports(server))


def settled(server: Served, users: int) -> None:
    """Wait until this many are connected and every worker has been asked."""
    wanted = {"live": users, "stale": 0}
    wait_until(lambda: server.state()["connections"] == wanted, f"{users} connections")
    server.wait_workers(WORKERS)


def in_each(server: Served) -> list[int]:
    reports = agent_socket.reports(server)
    return sorted(sum(app["connected"] for app in told["apps"].values()) for told in reports)


def assert_one_session_each(server: Served, users: Users) -> None:
    """Users come, all connections break and come back, and each has a session of its own."""
    # While workers import for their first session, others may get a few more.
    there = [each for _ in range(WORKERS) for each in join_all(users, server.url, 1)]
    there += join_all(users, server.url, MANY - WORKERS)
    marks = [mark(users, user) for _, user in there]
    assert len(set(marks)) == MANY
    settled(server, MANY)
    assert created(server) == MANY
    # Six come at the same time, and each of them counts once its session is being created.
    assert max(in_each(server)) - min(in_each(server)) <= 3
    for _, user in there:
        users.leave(user)
    settled(server, 0)
    back = [users.connect(server.url, token) for token, _ in there]
    assert [mark(users, user) for user in back] == marks
    settled(server, MANY)
    assert created(server) == MANY
    assert server.value('bokeh_connections_opened_total{app="/app"}') == 2 * MANY
    assert handed(server, "websocket") >= 1
    assert server.state()["sessions"]["opening"] == 0
    assert server.state()["quality"] == "exact"
    assert requests(server) == 0


@pytest.mark.parametrize("server_of", ["bokeh", "panel"])
def test_each_user_has_one_session_and_reconnects_find_it(
    tmp_path: Path, python: str, server_of: str
) -> None:
    with workers(tmp_path, server_of=server_of, python=python) as server, Users() as users:
        assert_one_session_each(server, users)


def test_each_user_of_pn_serve_has_one_session(tmp_path: Path) -> None:
    with scripted(tmp_path, PANEL_SERVE) as server, Users() as users:
        assert_one_session_each(server, users)


def test_what_is_used_of_tornado_and_bokeh_is_there(python: str) -> None:
    done = subprocess.run(
        [python, str(CONTRACT), str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_crowd_is_shared_although_all_workers_import_for_their_first_session(
    tmp_path: Path,
) -> None:
    with workers(tmp_path) as server, Users() as users, ThreadPoolExecutor(MANY) as pool:
        url = f"{server.url}?imports=1.5"
        tokens = [token_in(page) for page in pool.map(users.get, [url] * MANY)]
        list(pool.map(lambda token: users.connect(server.url, token), tokens))
        settled(server, MANY)
        assert created(server) == MANY
        assert max(in_each(server)) <= MANY // 2  # one had nearly all of them


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    with workers(tmp_path, options=("--hand-off", "off")) as server, Users() as users:
        join_all(users, server.url)
        settled(server, MANY)
        assert created(server) > MANY
        assert handed(server, "page") == handed(server, "websocket") == 0


@pytest.mark.parametrize(
    "page",
    ["?bokeh-session-id={}", "/autoload.js?bokeh-autoload-element=x&bokeh-session-id={}"],
    ids=["page", "script of server_document"],
)
def test_all_pages_of_a_session_come_from_its_worker(tmp_path: Path, page: str) -> None:
    with workers(tmp_path) as server, Users() as users:
        for who in ("a" * 44, "b" * 44):
            tokens = [
                token_in(users.get(server.url + page.format(who)).replace('\\"', '"'))
                for _ in range(8)
            ]
            marks = {mark(users, users.connect(server.url, token)) for token in tokens}
            assert len(marks) == 1
        assert created(server) == 2
        assert handed(server, "page") >= 1


def test_pages_that_ask_for_one_new_session_at_once_share_it(tmp_path: Path) -> None:
    with workers(tmp_path) as server, Users() as users:
        url = f"{server.url}?bokeh-session-id={'c' * 44}&busy=1"
        with ThreadPoolExecutor(8) as pool:
            first = pool.submit(users.get, url)
            time.sleep(0.5)
            pages = list(pool.map(lambda _: users.get(url), range(7)))
        assert len({*pages, first.result()}) >= 1
        assert created(server) == 1


def test_a_killed_worker_ends_its_own_users_only(tmp_path: Path) -> None:
    with workers(tmp_path) as server, Users() as users:
        there = join_all(users, server.url)
        homes = {token: mark(users, user)[1] for token, user in there}
        killed = homes[there[0][0]]
        os.kill(killed, signal.SIGKILL)
        gone = [(token, user) for token, user in there if homes[token] == killed]
        wait_until(lambda: all(user.closed.is_set() for _, user in gone), "its users to be cut off")
        assert all(users.is_connected(user) for t, user in there if homes[t] != killed)
        back = [users.connect(server.url, token) for token, _ in gone]  # at once, while it is gone
        wait_until(
            lambda: len(agent_socket.agents(server)) == WORKERS, "the worker to be restarted"
        )
        assert all(mark(users, user)[1] != killed for user in back)
        server.wait_workers(WORKERS)
        new = join_all(users, server.url)
        processes = {worker["pid"] for worker in server.state()["workers"]}
        assert {mark(users, user)[1] for _, user in new} <= processes
        marks = [mark(users, user) for _, user in new]
        for _, user in new:
            users.leave(user)
        assert [mark(users, users.connect(server.url, token)) for token, _ in new] == marks
        assert len(new) / WORKERS <= in_each(server)[-1]


def test_a_worker_that_is_killed_while_it_gives_a_connection_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    with workers(tmp_path) as server, Users() as users, ThreadPoolExecutor(1) as pool:
        token = token_in(users.get(server.url))
        user = users.connect(server.url, token)
        home = mark(users, user)
        users.leave(user)
        settled(server, 0)
        before = descriptors(home[1])
        with stopped(home[1]):
            back = pool.submit(users.connect, server.url, token)
            giver = wait_until(lambda: waiting_for(server, home[1]), "a worker to wait for it")
            os.kill(giver, signal.SIGSTOP)  # it will not hear that its connection is awaited
        wait_until(lambda: descriptors(home[1]) > before, "the worker to be ready for it")
        os.kill(giver, signal.SIGKILL)
        with pytest.raises((ConnectionError, StreamClosedError, HTTPClientError)):
            back.result()
        again = users.connect(server.url, token)  # as the page does by itself
        assert mark(users, again) == home
        wait_until(lambda: len(agent_socket.agents(server)) == WORKERS, "the giver's successor")
        settled(server, 1)
        wait_until(lambda: requests(server) == 0, "no request")
        assert created(server) == 1
        users.leave(again)
        wait_until(lambda: descriptors(home[1]) == before, "all descriptors to be closed")


def descriptors(process: int) -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def waiting_for(server: Served, stopped: int) -> int:
    """The worker with a request that it wants to give to the stopped one; 0: none yet."""
    running = [name for name in agent_socket.agents(server) if name.pid != stopped]
    return next((name.pid for name in running if agent_socket.ask(name)["requests"]), 0)


def test_a_worker_that_stands_still_gets_no_new_users_and_keeps_its_own(tmp_path: Path) -> None:
    with workers(tmp_path) as server, Users() as users:
        there = join_all(users, server.url, WORKERS)
        token, user = there[0]
        home = mark(users, user)
        os.kill(home[1], signal.SIGSTOP)
        try:
            time.sleep(1.5)  # it takes no new pages after a second
            (page,) = {one_page_elsewhere(server, home[1])}
            assert page != home[1]
            with ThreadPoolExecutor(1) as pool:
                back = pool.submit(users.connect, server.url, token)
                time.sleep(0.5)
                os.kill(home[1], signal.SIGCONT)
                assert mark(users, back.result()) == home
        finally:
            os.kill(home[1], signal.SIGCONT)


def test_a_page_for_a_worker_that_has_just_stopped_is_answered_by_another_one(
    tmp_path: Path,
) -> None:
    with workers(tmp_path) as server, Users() as users:
        users.join(server.url)  # the others have fewer sessions
        with stopped(server.state()["workers"][3]["pid"]):
            tokens = [token_in(users.get(server.url)) for _ in range(8)]
            there = [users.connect(server.url, token) for token in tokens]
            assert len({mark(users, user) for user in there}) == 8
        wait_until(lambda: requests(server) == 0, "no request")


def one_page_elsewhere(server: Served, stopped: int) -> int:
    """The process of a page that was not accepted by the stopped worker, which accepts none."""
    with connected_to(server) as connection:
        connection.request("GET", "/app/metadata")
        connection.getresponse().read()
        connection.request("GET", "/app")
        token = token_in(connection.getresponse().read().decode())
    with Users() as users:
        return mark(users, users.connect(server.url, token))[1]


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


def test_pipelined_requests_are_answered_in_their_order(tmp_path: Path) -> None:
    with workers(tmp_path) as server:
        place = urlparse(server.url)
        host = f"Host: {place.netloc}\r\n\r\n"
        for turn in range(4):
            with socket.create_connection((place.hostname, place.port), PATIENCE) as client:
                one = f"GET /app?bokeh-session-id={'p' * 40}{turn} HTTP/1.1\r\n{host}"
                two = f"GET /app/metadata HTTP/1.1\r\n{host}"
                three = f"GET /app?bokeh-session-id={'q' * 40}{turn} HTTP/1.1\r\n"
                client.sendall((one + two + one + three).encode())
                client.sendall(f"Connection: close\r\n{host}".encode())
                answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
            parts = answer.split("HTTP/1.1 200 OK")[1:]
            kinds = [re.search(r"Content-Type: (\S+?)[;\r]", part) for part in parts]
            assert [kind and kind[1] for kind in kinds] == [
                "text/html", "application/json", "text/html", "text/html",
            ]  # fmt: skip
        assert created(server) == 8


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


def test_a_draining_server_takes_reconnects_at_any_worker_and_no_new_pages(tmp_path: Path) -> None:
    brief = ("--reconnect", "1s")
    with workers(tmp_path, options=brief) as server, Users() as users:
        there = join_all(users, server.url, 12)
        loading = [token_in(users.get(server.url)) for _ in range(4)]
        marks = [mark(users, user) for _, user in there]
        server.terminate()
        wait_until(lambda: server.state()["draining"], "the drain to begin")
        wait_until(
            lambda: all(told["draining"] for told in agent_socket.reports(server)), "every worker"
        )
        for _ in range(8):
            with pytest.raises(HTTPClientError, match="503"):
                users.get(server.url)
        for _, user in there[1:]:
            users.leave(user)
        back = [users.connect(server.url, token) for token, _ in there[1:]]
        assert [mark(users, user) for user in back] == marks[1:]
        arrived = [users.connect(server.url, token) for token in loading]
        assert created(server) == 16
        for user in [there[0][1], *back, *arrived]:
            users.leave(user)
        assert server.exit_code() == 0


def test_only_the_workers_of_the_same_server_may_hand_it_a_connection(tmp_path: Path) -> None:
    with workers(tmp_path) as server, Users() as users:
        pids = {worker["pid"] for worker in server.state()["workers"]}
        sockets = re.findall(r"@(bokeh-exporter-handoff/\S+)", Path("/proc/net/unix").read_text())
        ours = {name for name in sockets if int(name.rpartition("/")[2]) in pids}
        assert len(ours) == WORKERS
        for name in ours:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
                stranger.settimeout(PATIENCE)
                stranger.connect(f"\0{name}")
                assert stranger.recv(1) == b""  # closed, and not said to be ready
        join_all(users, server.url, 4)
        assert created(server) == 4


def test_a_page_whose_client_leaves_at_once_disturbs_nobody(tmp_path: Path) -> None:
    with workers(tmp_path) as server, Users() as users:
        place = urlparse(server.url)
        for _ in range(20):
            with socket.create_connection((place.hostname, place.port), PATIENCE) as client:
                linger = socket.SO_LINGER
                client.setsockopt(socket.SOL_SOCKET, linger, b"\1\0\0\0\0\0\0\0")  # a reset
                client.sendall(f"GET /app HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
        join_all(users, server.url, 8)
        wait_until(
            lambda: all(told["requests"] == 0 for told in agent_socket.reports(server)),
            "no request",
        )
        settled(server, 8)
        with suppress(FileNotFoundError):
            assert "Traceback" not in server.output


def test_a_worker_without_free_descriptors_is_given_nothing(tmp_path: Path) -> None:
    with workers(tmp_path) as server, Users() as users:
        home = mark(users, users.join(server.url))[1]
        used = {int(file.name) for file in Path(f"/proc/{home}/fd").iterdir()}
        free = next(number for number in range(len(used) + 1) if number not in used)
        limits = resource.prlimit(home, resource.RLIMIT_NOFILE)
        for left in range(3):
            resource.prlimit(home, resource.RLIMIT_NOFILE, (free + left, limits[1]))
            for _ in range(20):  # soon it has the fewest sessions
                began = time.monotonic()
                assert token_in(users.get(server.url))
                assert time.monotonic() - began < 1
        resource.prlimit(home, resource.RLIMIT_NOFILE, limits)
        server.wait_workers(WORKERS)
        assert created(server) == 61


def test_new_pages_do_not_wait_for_a_worker_that_is_busy(tmp_path: Path) -> None:
    with workers(tmp_path) as server, Users() as users, ThreadPoolExecutor(1) as pool:
        busy = users.join(server.url)
        home = mark(users, busy)[1]
        waited = []
        for _ in range(2 * WORKERS):  # soon it has the fewest sessions
            working = pool.submit(users.say, busy, "sleep", 0.8)
            time.sleep(0.1)
            began = time.monotonic()
            assert one_page_elsewhere(server, home) != home
            waited.append(time.monotonic() - began)
            working.result()
        assert max(waited) < 0.5


def test_pages_that_ask_for_one_new_session_from_all_workers_at_once_share_it(
    tmp_path: Path,
) -> None:
    with workers(tmp_path) as server, Users() as users, ThreadPoolExecutor(8) as pool:
        for number in range(20):
            url = f"{server.url}?bokeh-session-id={'d' * 40}{number}"
            list(pool.map(users.get, [url] * 8))
        assert created(server) == 20


def test_pages_of_a_killed_worker_agree_on_another_one(tmp_path: Path) -> None:
    with workers(tmp_path) as server, Users() as users, ThreadPoolExecutor(24) as pool:
        there = join_all(users, server.url)
        homes = {token: mark(users, user)[1] for token, user in there}
        killed = homes[there[0][0]]
        gone = [token for token, home in homes.items() if home == killed]
        os.kill(killed, signal.SIGKILL)
        back = list(pool.map(lambda token: users.connect(server.url, token), gone * 4))
        found = {(token, mark(users, user)) for token, user in zip(gone * 4, back, strict=True)}
        assert len(found) == len(gone)
