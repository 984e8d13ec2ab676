"""What the hand-off between the workers of `--num-procs` saves and costs, with real users.

As many users as a page of 1,000 has come to four workers, and come back after all connections have
broken; then the same without the hand-off. Beside it, stock Bokeh without launcher and agent.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.figure import Figure, cpu_seconds
from tests.exporter import agent_socket
from tests.lab.bokeh_servers import BIN, Served, bokeh_serve, end, free_port, wait_until
from tests.lab.websocket_user import User, Users, token_in

USERS, WORKERS, AT_ONCE = 1000, 4, 8
LARGE_USERS, LARGE_MEGABYTES = 40, 20
KEEP = ("--num-procs", str(WORKERS), "--unused-session-lifetime", "3600000")

APP = """
import uuid
from bokeh.io import curdoc
from bokeh.models import Div

curdoc().add_root(Div(text=f"mark-{uuid.uuid4().hex}"))
"""
LARGE = f"""{APP}
data = bytearray({LARGE_MEGABYTES} * 2**20)
curdoc().on_session_destroyed(lambda _, data=data: None)
"""
MARK = re.compile(r"mark-([0-9a-f]{32})")


@dataclass
class Crowd:
    """Users of one server: their tokens, marks, and seconds from the WebSocket to its document."""

    users: Users
    url: str
    there: list[tuple[str, User]] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def come(self, count: int) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            self.there = list(pool.map(self._join, range(count)))
        self.marks = [self._mark(user) for _, user in self.there]

    def come_back(self) -> float:
        """Break all connections, reconnect, and return the share that lost their session."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda each: self.users.leave(each[1]), self.there))
            back = pool.map(lambda each: self.users.connect(self.url, each[0]), self.there)
            marks = [self._mark(user) for user in back]
        return sum(a != b for a, b in zip(self.marks, marks, strict=True)) / len(marks)

    def _join(self, _: int) -> tuple[str, User]:
        token = token_in(self.users.get(self.url))
        began = time.perf_counter()
        user = self.users.connect(self.url, token)
        self.seconds.append(time.perf_counter() - began)
        return token, user

    def _mark(self, user: User) -> str:
        found = MARK.search(json.dumps(self.users.document(user)))
        return found[1] if found else ""


def measure() -> Iterator[Figure]:
    for switch in ("on", "off"):
        yield from with_users(switch, USERS)
    yield from stock(USERS)
    for switch in ("on", "off"):
        yield from memory(switch)


def with_users(switch: str, count: int) -> Iterator[Figure]:
    """The launcher's server with the hand-off, or without it."""
    name = f"{count} users, hand-off {switch}"
    goal = count if switch == "on" else None
    with launched(APP, switch) as server, Users(120) as users:
        crowd = Crowd(users, server.url)
        before = cpu_below(server.launcher.pid)
        crowd.come(count)
        yield Figure(f"{name}: CPU a user", spent(server, before, count), "ms")
        yield Figure(f"{name}: sessions created", created(server), "", goal)
        yield Figure(f"{name}: in the fullest worker", fullest(server), "")
        yield Figure(f"{name}: WebSocket to document", middle(crowd), "ms")
        lost = 100 * crowd.come_back()
        yield Figure(f"{name}: reconnects that lose it", lost, "%", 0 if goal else None)


def stock(count: int) -> Iterator[Figure]:
    """`bokeh serve` alone: nobody can count its sessions."""
    port = free_port()
    command = [str(BIN / "bokeh"), "serve", "app.py", "--port", str(port), *KEEP]
    with tempfile.TemporaryDirectory() as folder, Users(120) as users:
        (Path(folder) / "app.py").write_text(APP)
        server = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
        workers = children(server.pid)
        try:
            url = f"http://127.0.0.1:{port}/app"
            users.leave(wait_until(lambda: users.try_join(url), "the server"))
            workers = children(server.pid)
            before = sum(map(cpu_seconds, workers))
            crowd = Crowd(users, url)
            crowd.come(count)
            used = 1e3 * (sum(map(cpu_seconds, workers)) - before) / count
            yield Figure(f"{count} users, stock Bokeh: CPU a user", used, "ms")
            yield Figure(f"{count} users, stock Bokeh: WebSocket to document", middle(crowd), "ms")
        finally:
            for pid in workers:  # they outlive their parent
                subprocess.run(["kill", str(pid)], check=False)
            end(server)


def memory(switch: str) -> Iterator[Figure]:
    """Sessions of 20 MB each: what all workers have of their own."""
    with launched(LARGE, switch) as server, Users(120) as users:
        crowd = Crowd(users, server.url)
        before = own_megabytes(server)
        crowd.come(LARGE_USERS)
        used = own_megabytes(server) - before
        what = f"{LARGE_USERS} users of {LARGE_MEGABYTES} MB, hand-off {switch}: memory"
        yield Figure(what, used, "MB")


@contextmanager
def launched(app: str, switch: str) -> Iterator[Served]:
    with tempfile.TemporaryDirectory() as folder:
        options = ("--hand-off", switch)
        with bokeh_serve(Path(folder), *KEEP, app=app, options=options) as server:
            server.wait_workers(WORKERS, 60)
            yield server


def created(server: Served) -> float:
    server.wait_workers(WORKERS)
    return server.value('bokeh_sessions_created_total{app="/app"}')


def fullest(server: Served) -> float:
    """The most sessions that one worker has, orphaned ones included."""
    reports = (told["apps"]["/app"] for told in agent_socket.reports(server))
    return max(app["connected"] + app["lingering"] for app in reports)


def middle(crowd: Crowd) -> float:
    return 1e3 * statistics.median(crowd.seconds)


def spent(server: Served, before: float, count: int) -> float:
    return 1e3 * (cpu_below(server.launcher.pid) - before) / count


def cpu_below(launcher: int) -> float:
    """CPU time of the workers: the launcher's child forks them."""
    return sum(cpu_seconds(worker) for child in children(launcher) for worker in children(child))


def own_megabytes(server: Served) -> float:
    """Memory that the workers do not share."""
    return sum(private_megabytes(worker["pid"]) for worker in server.state()["workers"])


def private_megabytes(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"^Private_\w+:\s+(\d+)", text, re.MULTILINE)) / 1e3


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


if __name__ == "__main__":
    USERS = int(sys.argv[1]) if len(sys.argv) > 1 else USERS
    for figure in measure():
        print(figure.line(), flush=True)
