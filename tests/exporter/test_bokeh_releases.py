"""The same counts on every Bokeh release that is there: this one and the restructured 3.10."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from tornado.httpclient import HTTPClientError

from tests.exporter import agent_socket
from tests.lab.bokeh_servers import APP, QUICK, free_port, served, wait_until
from tests.lab.websocket_user import Users, token_in

pytestmark = [pytest.mark.slow, pytest.mark.mostly_idle]


FAILING = """
import sys
from bokeh.models import Div
from bokeh.server.server import Server

def page(document):
    if "fail" in document.session_context.request.arguments:
        raise RuntimeError("asked to")
    document.add_root(Div(text="hello"))

Server({"/app": page}, port=int(sys.argv[1])).run_until_shutdown()
"""
PANEL = "import panel as pn\npn.panel('hello').servable()\n"
ASGI = """
import sys
import uvicorn
from bokeh.models import Div
from bokeh.server.asgi import BokehASGI

def page(document):
    document.add_root(Div(text="hello"))

uvicorn.run(BokehASGI({"/app": page}), port=int(sys.argv[1]), ws="websockets-sansio")
"""


def has_uvicorn(python: str) -> bool:
    check = [python, "-c", "import bokeh.server.asgi, uvicorn, websockets"]
    return subprocess.run(check, capture_output=True, check=False).returncode == 0


# Each program and each number of processes once: `test_handoff` has four workers of both programs.
@pytest.mark.parametrize(
    ("server_of", "processes"),
    [("bokeh", 1), ("panel", 2)],
    ids=["bokeh-one process", "panel-two workers"],
)
def test_users_come_are_counted_and_drained(
    tmp_path: Path, python: str, server_of: str, processes: int
) -> None:
    (tmp_path / "app.py").write_text(APP if server_of == "bokeh" else PANEL)
    port = free_port()
    command = [python, "-m", server_of, "serve", "app.py", "--port", str(port)]
    command += ["--num-procs", str(processes), *QUICK]
    brief = ("--reconnect", "1s")
    with served(tmp_path, command, port=port, options=brief) as server, Users() as users:
        server.wait_workers(processes)
        there = [users.join(server.url) for _ in range(4)]
        everybody = {"live": 4, "stale": 0}
        wait_until(lambda: server.state()["connections"] == everybody, "all four to be counted")
        users.leave(there[0])
        wait_until(lambda: server.connected() == 3, "three users left over")
        assert server.value('bokeh_connections_opened_total{app="/app"}') == 4
        closed = 'bokeh_connections_closed_total{app="/app",code="1000"}'
        wait_until(lambda: server.value(closed) == 1, "the close to be counted")
        assert server.value('bokeh_session_create_duration_seconds_count{app="/app"}') >= 4
        assert server.value('bokeh_message_duration_seconds_count{app="/app"}') == 4
        server.terminate()
        wait_until(lambda: server.state()["draining"], "the drain to begin")
        for user in there[1:]:
            users.leave(user)
        assert server.exit_code() == 0


def test_a_page_that_fails_is_an_error_and_not_pending_for_ever(
    tmp_path: Path, python: str
) -> None:
    (tmp_path / "serve.py").write_text(FAILING)
    port = free_port()
    with served(tmp_path, [python, "serve.py", str(port)], port=port) as server, Users() as users:
        server.wait_workers(1)
        for _ in range(2):
            with pytest.raises(Exception, match="HTTP 500"):
                users.get(server.url, fail="yes")
        users.join(server.url)
        wait_until(lambda: server.connected() == 1, "the user to be counted")
        assert server.value('bokeh_session_create_errors_total{app="/app"}') == 2
        assert server.value('bokeh_request_duration_seconds_count{app="/app",code="5xx"}') == 2
        assert server.state()["sessions"]["pending"] == 0


def test_an_asgi_server_is_counted(tmp_path: Path, python: str) -> None:
    if not has_uvicorn(python):
        pytest.skip("this Bokeh has no ASGI, or uvicorn or websockets is missing beside it")
    (tmp_path / "serve.py").write_text(ASGI)
    port = free_port()
    with served(tmp_path, [python, "serve.py", str(port)], port=port) as server, Users() as users:
        server.wait_workers(1)
        there = [users.join(server.url) for _ in range(3)]
        wait_until(lambda: server.connected() == 3, "all three to be counted")
        assert server.state()["sessions"]["opening"] == 0
        assert agent_socket.report(server)["watching"] is True
        assert 'mode="asgi"' in server.get("/metrics")[2]
        assert server.value('bokeh_message_duration_seconds_count{app="/app"}') == 3
        for user in there:
            users.leave(user)
        wait_until(lambda: server.connected() == 0, "all users to be gone")
        closed = 'bokeh_connections_closed_total{app="/app",code="other"}'
        wait_until(lambda: server.value(closed) == 3, "three closes to be counted")


def test_a_draining_asgi_server_takes_no_new_sessions(tmp_path: Path, python: str) -> None:
    if not has_uvicorn(python):
        pytest.skip("this Bokeh has no ASGI, or uvicorn or websockets is missing beside it")
    (tmp_path / "serve.py").write_text(ASGI)
    port = free_port()
    with served(tmp_path, [python, "serve.py", str(port)], port=port) as server, Users() as users:
        server.wait_workers(1)
        there, loading = users.join(server.url), token_in(users.get(server.url))
        agent_socket.drain(server)
        with pytest.raises(HTTPClientError, match="503"):
            users.get(server.url)
        with pytest.raises(HTTPClientError, match="503"):
            users.connect(server.url, unknown(loading))
        users.connect(server.url, loading)
        users.ask(there)
        wait_until(lambda: server.state()["connections"]["live"] == 2, "both to be counted")


def unknown(token: str) -> str:
    """The token of a page that no server has made."""
    payload = token.partition(".")[0]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    claims["session_id"] = "x" * 44
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
