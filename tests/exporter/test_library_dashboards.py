"""A dashboard that a library serves inside the app, as Dask does: its viewers are no users."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exporter import agent_socket
from tests.lab.bokeh_servers import Served, free_port, served, wait_until
from tests.lab.websocket_user import Users

pytestmark = pytest.mark.slow

DASHBOARD = """
from bokeh.models import Div

def status_doc(scheduler, document):
    document.add_root(Div(text=scheduler))
"""
SCRIPT = """
import sys
from functools import partial
from bokeh.models import Div
from bokeh.server.server import Server
from distributed.dashboard import status_doc

def page(document):
    document.add_root(Div(text="hello"))

ours, theirs = map(int, sys.argv[1:])
server = Server({"/app": page}, port=ours, unused_session_lifetime_milliseconds=500,
                check_unused_sessions_milliseconds=300)
Server({"/status": partial(status_doc, "a scheduler")}, port=theirs, io_loop=server.io_loop).start()
server.run_until_shutdown()
"""


@pytest.fixture
def dashboard() -> int:
    """Its port."""
    return free_port()


@pytest.fixture
def server(tmp_path: Path, dashboard: int) -> Iterator[Served]:
    library = tmp_path / "distributed"
    library.mkdir()
    (library / "__init__.py").touch()
    (library / "dashboard.py").write_text(DASHBOARD)
    (tmp_path / "main.py").write_text(SCRIPT)
    port = free_port()
    command = [sys.executable, "main.py", str(port), str(dashboard)]
    with served(tmp_path, command, port=port, options=("--reconnect", "30s")) as found:
        found.wait_workers(1)
        yield found


def test_its_viewers_count_nowhere_and_hold_no_drain(server: Served, dashboard: int) -> None:
    with Users() as users:
        viewer = users.join(f"http://127.0.0.1:{dashboard}/status")
        report = agent_socket.report(server)
        assert set(report["apps"]) == {"/app"}
        assert report["apps"]["/app"]["live"] == 0
        assert report["requests"] == 0
        assert all("/status" not in labels for _, labels, _ in report["counters"])
        assert server.state()["empty_for_s"] is not None
        assert users.is_connected(viewer)
        server.terminate()
        assert server.exit_code() == 0  # at once, because there never was a user


def test_users_of_the_app_beside_it_count(server: Served, dashboard: int) -> None:
    with Users() as users:
        users.join(f"http://127.0.0.1:{dashboard}/status")
        users.join(server.url)
        wait_until(lambda: server.connected() == 1, "the user")
        assert server.state()["connections"] == {"live": 1, "stale": 0}
        assert server.state()["created_total"] == 1
