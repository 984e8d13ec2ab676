"""What the hand-off between the workers of `--num-procs` saves and costs, with real users.

Users come to four workers with the hand-off and, in turns, to four of stock Bokeh without launcher
and agent; then as many come, and come back, with the hand-off and without it.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.crowd import APP, AT_ONCE, Crowd
from tests.benchmarks.figure import Figure
from tests.exporter import agent_socket
from tests.lab.bokeh_servers import BIN, Served, bokeh_serve, end, free_port, wait_until
from tests.lab.websocket_user import Users

USERS, WORKERS, BATCH = 1000, 4, 25
LARGE_USERS, LARGE_MEGABYTES = 40, 20
KEEP = ("--num-procs", str(WORKERS), "--unused-session-lifetime", "3600000")
LARGE = f"""{APP}
data = bytearray({LARGE_MEGABYTES} * 2**20)
curdoc().on_session_destroyed(lambda _, data=data: None)
"""


@dataclass
class Contender:
    """One server, and what its users cost: CPU milliseconds a user, in each batch."""

    crowd: Crowd
    workers: Callable[[], list[int]]
    cpu: list[float] = field(default_factory=list)

    def welcome(self, count: int, at_once: int) -> None:
        before = self._spent()
        self.crowd.come(count, at_once)
        self.cpu.append((self._spent() - before) / count)

    def _spent(self) -> float:
        return sum(map(cpu_milliseconds, self.workers()))

    def waits(self) -> list[float]:
        """Milliseconds from a WebSocket to its document: the lower quartile and the median.

        Many WebSockets of stock Bokeh wait for 40 ms more, because the server sends small messages
        and the client delays its acknowledgements.
        """
        return [1e3 * n for n in statistics.quantiles([m.seconds for m in self.crowd.members])[:2]]


def measure() -> Iterator[Figure]:
    for at_once in (1, AT_ONCE):
        yield from beside_stock(USERS, at_once)
    for switch in ("on", "off"):
        yield from with_users(switch, USERS)
    for switch in ("on", "off"):
        yield from memory(switch)


def beside_stock(count: int, at_once: int) -> Iterator[Figure]:
    """Users come to both servers in turns, so that both meet the same moods of the machine.

    The goals are for users who come one by one. A crowd keeps all CPUs busy: then each step of a
    hand-off waits for a process that runs.
    """
    with launched(APP, "on") as server, stock() as (parent, url), Users(120) as users:
        ours = Contender(Crowd(users, server.url), lambda: workers_below(server.launcher.pid))
        theirs = Contender(Crowd(users, url), lambda: children(parent))
        both = (ours, theirs)
        for contender in both:  # imports
            contender.crowd.come(4 * WORKERS)
            contender.crowd.members.clear()
        for turn in range(count // BATCH):
            for contender in both if turn % 2 else reversed(both):
                contender.welcome(BATCH, at_once)
    yield from compared(f"{count} users, {at_once} at a time", ours, theirs, goals=at_once == 1)


def compared(name: str, ours: Contender, theirs: Contender, *, goals: bool) -> Iterator[Figure]:
    pairs = zip(ours.cpu, theirs.cpu, strict=True)
    more = 100 * (statistics.median(one / other for one, other in pairs) - 1)
    yield Figure(f"{name}: CPU a user", statistics.mean(ours.cpu), "ms")
    yield Figure(f"{name}, stock Bokeh: CPU", statistics.mean(theirs.cpu), "ms")
    yield Figure(f"{name}: CPU beside it", more, "% more", 5 if goals else None)
    for what, own, other in zip(("quartile", "median"), ours.waits(), theirs.waits(), strict=True):
        yield Figure(f"{name}: to the document, {what}", own, "ms")
        yield Figure(f"{name}, stock Bokeh: {what}", other, "ms")
        yield Figure(f"{name}: {what} beside it", own - other, "ms more", 1 if goals else None)


def with_users(switch: str, count: int) -> Iterator[Figure]:
    """The launcher's server with the hand-off, or without it."""
    name = f"{count} users, hand-off {switch}"
    goal = count if switch == "on" else None
    with launched(APP, switch) as server, Users(120) as users:
        crowd = Crowd(users, server.url)
        crowd.come(count)
        yield Figure(f"{name}: sessions created", created(server), "", goal)
        yield Figure(f"{name}: in the fullest worker", fullest(server), "")
        crowd.look()
        crowd.leave(crowd.members)
        lost = 100 * (1 - crowd.come_back(crowd.members) / count)
        yield Figure(f"{name}: reconnects that lose it", lost, "%", 0 if goal else None)


@contextmanager
def stock() -> Iterator[tuple[int, str]]:
    """`bokeh serve` alone: the process that forks its workers, and its address."""
    port = free_port()
    command = [str(BIN / "bokeh"), "serve", "app.py", "--port", str(port), *KEEP]
    url = f"http://127.0.0.1:{port}/app"
    with tempfile.TemporaryDirectory() as folder, Users(120) as users:
        (Path(folder) / "app.py").write_text(APP)
        quiet = subprocess.DEVNULL
        server = subprocess.Popen(command, cwd=folder, stdout=quiet, stderr=quiet)
        try:
            users.leave(wait_until(lambda: users.try_join(url), "the server"))
            yield server.pid, url
        finally:
            workers = children(server.pid)
            for pid in workers:  # they outlive their parent
                subprocess.run(["kill", str(pid)], check=False)
            end(server)


def memory(switch: str) -> Iterator[Figure]:
    """Sessions of 20 MB each: what all workers have of their own."""
    with launched(LARGE, switch) as server, Users(120) as users:
        before = own_megabytes(server)
        Crowd(users, server.url).come(LARGE_USERS)
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


def workers_below(launcher: int) -> list[int]:
    """The launcher's child forks them."""
    return [worker for child in children(launcher) for worker in children(child)]


def cpu_milliseconds(pid: int) -> float:
    """CPU time of a process; /proc has hundredths of a second, its clock (CPUCLOCK_SCHED) less."""
    return 1e3 * time.clock_gettime((~pid << 3) | 2)


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
