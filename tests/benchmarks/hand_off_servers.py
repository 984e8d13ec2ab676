"""The hand-off with every server and every way to it: 1,000 users of four workers.

Users come, all leave and come back, a worker is killed, and the server drains. Prints a table.

    python -m tests.benchmarks.hand_off_servers [USERS [SERVER [WAY]]]
"""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tornado.httpclient import HTTPClientError

from tests.benchmarks.crowd import APP, Crowd
from tests.exporter import agent_socket
from tests.exporter.worker_servers import WAYS, WITHIN, launched, through
from tests.lab.bokeh_servers import Served
from tests.lab.processes import wait_until
from tests.lab.websocket_user import Users

USERS = 1000
DESCRIPTORS = 20_000
SETTLES_WITHIN = 20.0  # seconds
RECONNECT_WHILE_DRAINING = 50

PN_SERVE = """
import os, sys, uuid
import panel as pn

def page():
    return pn.pane.Markdown(f"mark-{uuid.uuid4().hex}-{os.getpid()}-")

pn.serve(
    {"app": page}, port=int(sys.argv[2]), address=sys.argv[1], num_procs=4, show=False,
    unused_session_lifetime_milliseconds=3_600_000,
)
"""
PANEL = """
import os, uuid
import panel as pn

pn.pane.Markdown(f"mark-{uuid.uuid4().hex}-{os.getpid()}-").servable()
"""
SCRIPTS = {"bokeh serve": APP, "panel serve": PANEL, "pn.serve": PN_SERVE}


@dataclass
class Seen:
    """What became of the users. wrong: by how much the sidecar's count ever was, once settled."""

    created: int = 0
    per_user: float = 0.0
    found: int = 0
    wrong: int = 0
    killed: int = 0
    others_ended: int = 0
    drain: list[str] = field(default_factory=list)

    def row(self, server: str, way: str, users: int) -> str:
        cells = (
            server, way, f"{self.created:,}", f"{self.per_user:.2f}",
            f"{self.found:,} of {users:,}", self.wrong,
            f"{self.killed} and {self.others_ended}", ", ".join(self.drain),
        )  # fmt: skip
        return f"| {' | '.join(map(str, cells))} |"


COLUMNS = (
    "server", "way", "sessions created", "per user", "reconnects that found their session",
    "sidecar's count wrong by", "users of the killed worker and others that were cut off", "drain",
)  # fmt: skip


def observed(server_of: str, way: str, count: int) -> Seen:
    """Everything that happens to one server."""
    with (
        tempfile.TemporaryDirectory() as name,
        launched(Path(name), server_of, SCRIPTS[server_of]) as server,
        through(way, Path(name), server) as url,
        Users(WITHIN) as users,
    ):
        seen, crowd = Seen(), Crowd(users, url)
        come_and_come_back(server, crowd, seen, count)
        kill_the_fullest(server, crowd, seen)
        drain(server, crowd, seen)
        seen.drain.append(cut_in(Path(name) / "termination-log"))
        return seen


def come_and_come_back(server: Served, crowd: Crowd, seen: Seen, count: int) -> None:
    crowd.come(count)
    compare(server, seen, count)
    seen.created = int(server.value('bokeh_sessions_created_total{app="/app"}'))
    seen.per_user = server.value('bokeh_sessions_per_user_ratio{app="/app"}')
    crowd.look()
    crowd.leave(crowd.members)
    compare(server, seen, 0)
    seen.found = crowd.come_back(crowd.members)
    compare(server, seen, count)


def kill_the_fullest(server: Served, crowd: Crowd, seen: Seen) -> None:
    """Kill a worker, and have its users come back."""
    homes = Counter(member.process for member in crowd.members)
    ((victim, seen.killed),) = homes.most_common(1)
    server.state()  # the sidecar has just seen its sessions, which it will miss
    os.kill(victim, signal.SIGKILL)
    own = [member for member in crowd.members if member.process == victim]
    wait_until(lambda: all(m.user.closed.is_set() for m in own), WITHIN, "its users to be cut off")
    compare(server, seen, len(crowd.members) - seen.killed)
    cut = [m for m in crowd.members if not crowd.users.is_connected(m.user)]
    seen.others_ended = len(cut) - len(own)
    lost = int(server.value('bokeh_sessions_lost_total{app="/app"}'))
    seen.wrong = max(seen.wrong, abs(lost - seen.killed))
    crowd.come_back(own)  # to another worker, or to the restarted one
    compare(server, seen, len(crowd.members))
    crowd.look()


def drain(server: Served, crowd: Crowd, seen: Seen) -> None:
    """Tell the server to go: some reconnect, new users are refused, then all leave."""
    server.terminate()
    wait_until(lambda: drains(server), WITHIN, "every worker to drain")
    some = crowd.members[:RECONNECT_WHILE_DRAINING]
    crowd.leave(some)
    found = crowd.come_back(some)
    compare(server, seen, len(crowd.members))
    refused = is_refused(crowd)
    began = time.monotonic()
    crowd.leave(crowd.members)
    code = server.launcher.wait(WITHIN)
    seen.drain += [f"{found} of {len(some)} reconnected", "refused" if refused else "NOT REFUSED"]
    seen.drain.append(f"exit code {code} after {time.monotonic() - began:.0f} s")


def drains(server: Served) -> bool:
    return all(told["draining"] for told in agent_socket.reports(server))


def is_refused(crowd: Crowd) -> bool:
    try:
        crowd.users.get(crowd.url)
    except HTTPClientError as error:
        return error.code == 503
    return False


def compare(server: Served, seen: Seen, wanted: int) -> None:
    """Compare the sidecar's users with those that there are, once it has seen the last one go."""
    until = time.monotonic() + SETTLES_WITHIN
    while (off := difference(server, wanted)) and time.monotonic() < until:
        time.sleep(0.2)
    seen.wrong = max(seen.wrong, off)


def difference(server: Served, wanted: int) -> int:
    state = server.state()
    connected, live = state["sessions"]["connected"], state["connections"]["live"]
    return max(abs(connected - wanted), abs(live - wanted), state["sessions"]["opening"])


def cut_in(log: Path) -> str:
    found = re.search(r'"cut": (\d+)', log.read_text())
    return f"{found[1] if found else '?'} cut"


def main(words: list[str]) -> int:
    count = int(words[0]) if words else USERS
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, hard), hard))
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for server_of in words[1:2] or SCRIPTS:
        for way in words[2:3] or WAYS:
            print(observed(server_of, way, count).row(server_of, way, count), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
