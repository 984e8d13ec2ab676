"""Real servers of four workers behind one port, and what their users see."""

from __future__ import annotations

import http.client
import json
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from tests.exporter import agent_socket
from tests.lab.bokeh_servers import (
    PATIENCE,
    Served,
    free_port,
    served,
    wait_until,
)
from tests.lab.websocket_user import User, Users, token_in

WORKERS = 4
MANY = 24
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
MARK = re.compile(r"mark-([0-9a-f]{32})-(\d+)-")


@contextmanager
def workers(
    folder: Path,
    *arguments: str,
    server_of: str = "bokeh",
    python: str = sys.executable,
    first: str = "",
    **more: Any,
) -> Iterator[Served]:
    """`bokeh serve --num-procs 4` of an application with marks, or `panel serve`.

    first: what the application does before it makes its mark.
    """
    (folder / "app.py").write_text(first + MARKED)
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


@dataclass(frozen=True)
class Shared:
    """Four workers that other tests have used before, and what was counted by then."""

    server: Served
    created_before: int

    @property
    def created(self) -> int:
        """How many sessions this test has made."""
        return created(self.server) - self.created_before


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
