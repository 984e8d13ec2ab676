"""Workers that hand connections to each other while some are killed, stopped, busy or full."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlparse

import pytest

from tests.exporter import agent_socket
from tests.exporter.handing import (
    MANY,
    WORKERS,
    connected_to,
    created,
    in_each,
    join_all,
    mark,
    requests,
    settled,
    workers,
)
from tests.lab.bokeh_servers import (
    PATIENCE,
    Served,
    wait_until,
)
from tests.lab.processes import stopped
from tests.lab.websocket_user import Users, token_in

pytestmark = [pytest.mark.slow, pytest.mark.mostly_idle]

SENT_WITHIN = 0.5  # seconds from when a worker has a request to when it has sent the connection


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


def test_a_worker_that_is_killed_when_it_has_sent_a_connection_loses_nothing(
    tmp_path: Path,
) -> None:
    with workers(tmp_path) as server, Users(60) as users, ThreadPoolExecutor(1) as pool:
        token, home = one_who_left(server, users)
        before = descriptors(home[1])
        with stopped(home[1]):
            back = pool.submit(users.connect, server.url, token)
            giver = wait_until(lambda: waiting_for(server, home[1]), "a worker to wait for it")
            time.sleep(SENT_WITHIN)
            os.kill(giver, signal.SIGKILL)
            wait_until(lambda: has_successor(server, giver), "the giver's successor")
        again = back.result()
        assert mark(users, again) == home
        settled(server, 1)
        wait_until(lambda: requests(server) == 0, "no request")
        assert created(server) == 1
        users.leave(again)
        wait_until(lambda: descriptors(home[1]) <= before, "all descriptors to be closed")


def test_a_worker_that_is_killed_before_it_takes_a_connection_leaves_it_to_its_giver(
    tmp_path: Path,
) -> None:
    with workers(tmp_path) as server, Users() as users, ThreadPoolExecutor(1) as pool:
        token, home = one_who_left(server, users)
        pids = {name.pid for name in agent_socket.agents(server)} - {home[1]}
        before = {pid: descriptors(pid) for pid in pids}
        with stopped(home[1]):
            back = pool.submit(users.connect, server.url, token)
            wait_until(lambda: waiting_for(server, home[1]), "a worker to wait for it")
            os.kill(home[1], signal.SIGKILL)
        again = back.result()
        assert mark(users, again)[1] != home[1]
        users.leave(again)
        wait_until(lambda: requests(server) == 0, "no request")
        wait_until(lambda: all(descriptors(p) <= before[p] for p in pids), "descriptors to close")


def one_who_left(server: Served, users: Users) -> tuple[str, tuple[str, int]]:
    """The token of a user who was connected, and the session with its process."""
    token = token_in(users.get(server.url))
    user = users.connect(server.url, token)
    home = mark(users, user)
    users.leave(user)
    settled(server, 0)
    wait_until(lambda: requests(server) == 0, "no worker that waits for another one any more")
    return token, home


def has_successor(server: Served, killed: int) -> bool:
    there = [name.pid for name in agent_socket.agents(server)]
    return len(there) == WORKERS and killed not in there


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
        first = users.join(server.url)  # the others have fewer sessions
        busy = server.state()["workers"][3]["pid"]
        before = descriptors(busy) - (mark(users, first)[1] == busy)
        with stopped(busy):
            tokens = [token_in(users.get(server.url)) for _ in range(8)]
            there = [users.connect(server.url, token) for token in tokens]
            assert len({mark(users, user) for user in there}) == 8
        for user in (first, *there):
            users.leave(user)
        wait_until(lambda: requests(server) == 0, "no request")
        wait_until(lambda: descriptors(busy) <= before, "all descriptors to be closed")
        server.wait_workers(WORKERS)
        assert created(server) == 9


def one_page_elsewhere(server: Served, stopped: int) -> int:
    """The process of a page that was not accepted by the stopped worker, which accepts none."""
    with connected_to(server) as connection:
        connection.request("GET", "/app/metadata")
        connection.getresponse().read()
        connection.request("GET", "/app")
        token = token_in(connection.getresponse().read().decode())
    with Users() as users:
        return mark(users, users.connect(server.url, token))[1]


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


@pytest.mark.timing_sensitive
def test_a_worker_without_free_descriptors_is_given_nothing(tmp_path: Path) -> None:
    with workers(tmp_path) as server, Users() as users:
        home = mark(users, users.join(server.url))[1]
        used = {int(file.name) for file in Path(f"/proc/{home}/fd").iterdir()}
        free = next(number for number in range(len(used) + 1) if number not in used)
        limits = resource.prlimit(home, resource.RLIMIT_NOFILE)
        for left in range(7):  # to accept, to be sent two and to send them
            resource.prlimit(home, resource.RLIMIT_NOFILE, (free + left, limits[1]))
            for _ in range(20):  # soon it has the fewest sessions
                began = time.monotonic()
                assert token_in(users.get(server.url))
                assert time.monotonic() - began < 1
        resource.prlimit(home, resource.RLIMIT_NOFILE, limits)
        server.wait_workers(WORKERS)
        assert created(server) == 141


@pytest.mark.timing_sensitive
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


@pytest.mark.timing_sensitive  # a worker that stands still for half a second gets no page
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
