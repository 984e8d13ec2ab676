"""What the sidecar and the agent cost: a scrape of 10,000 sessions, memory, a patch's latency.

Each worker is a real Bokeh server with real sessions and connections put into it; only the clients'
sockets are played. The patch goes over a real WebSocket, with the agent in the server and without.
"""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.figure import Figure, resident_megabytes
from tests.lab.bokeh_servers import (
    APP,
    BIN,
    Served,
    end,
    free_port,
    served,
    stop_at_once,
    wait_until,
)
from tests.lab.websocket_user import Users

SESSIONS, WORKERS = 10_000, 4
SCRAPES, MESSAGES = 60, 400

WORKER = """
import asyncio, sys
from bokeh.application import Application
from bokeh.document import Document
from bokeh.protocol import Protocol
from bokeh.server.server import Server
from bokeh.server.session import ServerSession

class Socket:
    latest_pong = -1
    close_code = None
    async def send_message(self, message): pass
    def ping(self, data): pass

port, workers, each = map(int, sys.argv[1:4])
server = Server({"/app": Application()}, port=port, num_procs=workers)
tornado = server._tornado
context = tornado.applications["/app"]
for number in range(each):
    session = ServerSession(f"s{number}", Document(), io_loop=server.io_loop)
    context._sessions[session.id] = session
    tornado.new_connection(Protocol(), Socket(), context, session)
if sys.argv[4] == "busy":
    def burn():
        until = asyncio.get_event_loop().time() + 0.05
        while asyncio.get_event_loop().time() < until:
            pass
        server.io_loop.add_callback(burn)
    server.io_loop.add_callback(burn)
server.run_until_shutdown()
"""


def measure() -> Iterator[Figure]:
    for load, goal in (("idle", 10.0), ("busy", None)):
        with filled_server(load) as server:
            times = scrapes(server)
            what = f"scrape, {SESSIONS} sessions on {WORKERS} {load} workers"
            yield Figure(what, 1e3 * statistics.median(times), "ms", goal)
            if load == "idle":
                yield Figure("sidecar, RSS", resident_megabytes(server.sidecar.pid), "MB", 30)
                yield Figure("launcher, RSS", resident_megabytes(server.launcher.pid), "MB")
            stop_at_once(server.launcher)
            server.exit_code()
    for what, agent in (("without", False), ("with", True), ("without", False), ("with", True)):
        yield Figure(f"a message and its answer, {what} the agent", round_trip(agent), "ms")


@contextmanager
def filled_server(load: str) -> Iterator[Served]:
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "worker.py").write_text(WORKER)
        numbers = [str(port), str(WORKERS), str(SESSIONS // WORKERS)]
        command = [sys.executable, "worker.py", *numbers, load]
        with served(Path(name), command, port=port) as server:
            wait_until(lambda: server.connected() == SESSIONS, "the sessions", patience=120)
            yield server


def scrapes(server: Served) -> list[float]:
    """Seconds of each scrape, on one kept connection as Prometheus has it."""
    times = []
    connection = http.client.HTTPConnection("127.0.0.1", int(server.sidecar_url.split(":")[2]))
    for _ in range(SCRAPES):
        time.sleep(0.05)
        began = time.perf_counter()
        connection.request("GET", "/metrics")
        connection.getresponse().read()
        times.append(time.perf_counter() - began)
    connection.close()
    return times


def round_trip(agent: bool) -> float:
    """Median milliseconds from a client's message to the server's answer."""
    port = free_port()
    launch = [str(BIN / "bokeh-exporter"), "launch", "--instance", f"bench-{port}", "--"]
    serve = [str(BIN / "bokeh"), "serve", "app.py", "--port", str(port)]
    with tempfile.TemporaryDirectory() as folder, Users() as users:
        (Path(folder) / "app.py").write_text(APP)
        command = [*launch, *serve] if agent else serve
        server = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
        try:
            user = wait_until(lambda: users.try_join(f"http://127.0.0.1:{port}/app"), "the server")
            return 1e3 * statistics.median(users.ask(user) for _ in range(MESSAGES))
        finally:
            end(server)
