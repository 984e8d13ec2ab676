"""Forks at any time: each process counts what runs in it, and answers for nobody else."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.exporter import agent_socket
from tests.exporter.carriers import GUNICORN, MOUNTED, UVICORN, carried
from tests.lab.bokeh_servers import STARTS_WITHIN, Served, free_port, served, wait_until
from tests.lab.websocket_user import Users

pytestmark = pytest.mark.slow

# A server in a thread, and after it another one in a forked child.
THREADED_THEN_FORKED = """
import multiprocessing as mp
import socket, sys, time
import panel as pn

def page():
    return pn.pane.Markdown("hello")

def report(port):
    pn.serve({"report": page}, port=port, address="127.0.0.1", show=False)

if __name__ == "__main__":
    first, second = map(int, sys.argv[1:])
    pn.serve({"app": page}, port=first, address="127.0.0.1", show=False, threaded=True)
    while socket.socket().connect_ex(("127.0.0.1", first)):
        time.sleep(0.1)
    time.sleep(1)  # by now its loop runs
    child = mp.get_context("fork").Process(target=report, args=(second,))
    child.start()
    child.join()
"""
# The server is made before the fork, and its loop runs in each of the children.
MADE_THEN_FORKED = """
import os, sys
from bokeh.models import Div
from bokeh.server.server import Server

def page(document):
    document.add_root(Div(text="hello"))

server = Server({"/app": page}, port=int(sys.argv[1]))
children = []
for _ in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        # The loop's selector is the parent's, and so would be its events: each has one of its own.
        import select, asyncio
        loop = server.io_loop.asyncio_loop
        old = loop._selector
        loop._selector = type(old)()
        for key in list(old.get_map().values()):
            loop._selector.register(key.fileobj, key.events, key.data)
        server.start()
        server.io_loop.start()
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""
# A callback forks a helper that lives on; `exhaust` leaves no descriptor free until
# there is a file `enough`.
HELPERS = """
import multiprocessing as mp
import os, resource, sys, threading, time
from bokeh.models import Div
from bokeh.server.server import Server

def helper():
    time.sleep(600)

def fork(_):
    mp.get_context("fork").Process(target=helper, daemon=False).start()

def exhaust(_):
    def run():
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        taken = []
        while not os.path.exists("enough"):
            try:
                taken.append(os.dup(0))
            except OSError:
                time.sleep(0.1)
        for number in taken:
            os.close(number)
    threading.Thread(target=run).start()

def page(document):
    document.add_root(Div(text="hello"))
    document.on_message("fork", fork)
    document.on_message("exhaust", exhaust)

Server({"/app": page}, port=int(sys.argv[1])).run_until_shutdown()
"""

GOES_ON = "the agent continues after an error"


def script(folder: Path, text: str, *words: int) -> Any:
    """Launch a script whose first word is its port."""
    (folder / "serve.py").write_text(text)
    command = [sys.executable, "serve.py", *map(str, words)]
    return served(folder, command, port=words[0])


def live(server: Served) -> list[int]:
    """The live connections of each worker."""
    found = [told["apps"].values() for told in agent_socket.reports(server)]
    return sorted(sum(app["live"] for app in apps) for apps in found)


def slots(server: Served) -> list[str]:
    return [name.slot for name in agent_socket.agents(server)]


def test_a_child_forked_from_a_serving_script_serves_and_counts_for_itself(tmp_path: Path) -> None:
    port, second = free_port(), free_port()
    with script(tmp_path, THREADED_THEN_FORKED, port, second) as server, Users() as users:
        wait_until(lambda: len(agent_socket.agents(server)) == 2, "both processes", STARTS_WITHIN)
        report = f"http://127.0.0.1:{second}/report"
        wait_until(lambda: users.try_join(report), "the child's server")
        for _ in range(2):
            users.join(report)
        users.join(server.url)
        assert live(server) == [1, 3]
        assert slots(server) == ["0", "1"]
        apps = [set(told["apps"]) for told in agent_socket.reports(server)]
        assert apps == [{"/app"}, {"/report"}]


def test_a_server_made_before_the_fork_counts_where_its_loop_runs(tmp_path: Path) -> None:
    port = free_port()
    with script(tmp_path, MADE_THEN_FORKED, port, 3) as server, Users() as users:
        family = "the parent and its children"
        wait_until(lambda: len(agent_socket.agents(server)) == 4, family, STARTS_WITHIN)

        def watching() -> list[bool]:
            return sorted(told["watching"] for told in agent_socket.reports(server))

        wait_until(lambda: watching() == [False, True, True, True], "three loops")
        wait_until(lambda: users.try_join(server.url), "the server")
        for _ in range(8):
            users.join(server.url)
        assert sum(live(server)) == 9
        assert live(server)[0] == 0  # the parent's
        assert slots(server) == ["0", "1", "2", "3"]


def test_a_forked_helper_of_a_worker_has_no_users_and_no_name(tmp_path: Path) -> None:
    port = free_port()
    with script(tmp_path, HELPERS, port) as server, Users() as users:
        (worker,) = server.wait_workers(1, 60)
        there = [users.join(server.url) for _ in range(3)]
        assert users.say(there[0], "fork", None) == "OK"
        group = os.getpgid(worker["pid"])
        (helper,) = wait_until(lambda: children_of(worker["pid"]), "the helper")
        assert len(agent_socket.agents(server)) == 1
        assert live(server) == [3]
        users.leave(there[1])
        wait_until(lambda: live(server) == [2], "two users left over")
        assert children_of(worker["pid"]) == [helper]
        os.kill(worker["pid"], signal.SIGKILL)
        try:
            wait_until(lambda: not agent_socket.agents(server), "the worker's name to be gone")
        finally:
            with suppress(ProcessLookupError):
                os.kill(helper, signal.SIGKILL)
        assert group != os.getpgid(0)


def children_of(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize(
    "command",
    [
        [*UVICORN, "--workers", "2"],
        [*GUNICORN, "--workers", "2"],
        [*GUNICORN, "--workers", "2", "--preload"],
    ],
    ids=["uvicorn", "gunicorn", "gunicorn that preloads"],
)
def test_workers_of_an_asgi_server_have_a_slot_each_and_count_their_own(
    tmp_path: Path, command: list[str]
) -> None:
    with carried(tmp_path, MOUNTED, command, route="/inner/app") as server, Users() as users:
        server.wait_workers(2, 60)
        for _ in range(6):
            users.join(server.url)
        assert sum(live(server)) == 6
        wait_until(lambda: server.connected() == 6, "all six to be counted")
        assert slots(server) == ["0", "1"]
        assert server.state()["quality"] == "exact"


def test_an_agent_outlives_a_time_without_descriptors(tmp_path: Path) -> None:
    port = free_port()
    with script(tmp_path, HELPERS, port) as server, Users() as users:
        server.wait_workers(1, 60)
        there = [users.join(server.url) for _ in range(3)]
        assert users.say(there[0], "exhaust", None) == "OK"
        wait_until(lambda: not server.state()["workers"][0]["ok"], "the agent to be cut off")
        wait_until(lambda: GOES_ON in server.output, "the agent to say so")
        (tmp_path / "enough").touch()
        wait_until(lambda: server.state()["workers"][0]["ok"], "the agent to answer again")
        for user in there:
            users.leave(user)
        wait_until(lambda: server.connected() == 0, "the users to be gone")
        told = [line for line in server.output.splitlines() if GOES_ON in line]
        assert len(told) == 1
        assert "Too many open files" in told[0]
