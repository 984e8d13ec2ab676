"""Four workers behind one port, and each user in one of them: real servers under the launcher."""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bokeh.util.token import generate_session_id
from tornado.httpclient import HTTPClientError

from tests.exporter import agent_socket
from tests.exporter.handing import (
    MANY,
    WORKERS,
    Shared,
    created,
    handed,
    in_each,
    join_all,
    mark,
    requests,
    scripted,
    settled,
    workers,
)
from tests.lab.bokeh_servers import (
    Served,
    wait_until,
)
from tests.lab.websocket_user import Users, token_in

pytestmark = [pytest.mark.slow, pytest.mark.mostly_idle]


ROOT = Path(__file__).parents[2]
CONTRACT = Path(__file__).with_name("handoff_contract.py")
PANEL_SERVE = """
import os, sys, uuid
import panel as pn

def page():
    return pn.pane.Markdown(f"mark-{uuid.uuid4().hex}-{os.getpid()}-")

pn.serve({"app": page}, port=int(sys.argv[1]), address="127.0.0.1", num_procs=4, show=False)
"""


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
    # The worker that gave a connection away looks ten times a second whether it was taken.
    wait_until(lambda: requests(server) == 0, "no request")


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
def test_all_pages_of_a_session_come_from_its_worker(shared: Shared, page: str) -> None:
    server, handed_before = shared.server, handed(shared.server, "page")
    with Users() as users:
        for who in (generate_session_id(), generate_session_id()):
            tokens = [
                token_in(users.get(server.url + page.format(who)).replace('\\"', '"'))
                for _ in range(8)
            ]
            marks = {mark(users, users.connect(server.url, token)) for token in tokens}
            assert len(marks) == 1
        assert shared.created == 2
        assert handed(server, "page") > handed_before


def test_pages_that_ask_for_one_new_session_at_once_share_it(shared: Shared) -> None:
    with Users() as users:
        url = f"{shared.server.url}?bokeh-session-id={generate_session_id()}&busy=1"
        with ThreadPoolExecutor(8) as pool:
            first = pool.submit(users.get, url)
            time.sleep(0.5)
            pages = list(pool.map(lambda _: users.get(url), range(7)))
        assert len({*pages, first.result()}) >= 1
        assert shared.created == 1


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


def test_pages_that_ask_for_one_new_session_from_all_workers_at_once_share_it(
    shared: Shared,
) -> None:
    with Users() as users, ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            url = f"{shared.server.url}?bokeh-session-id={generate_session_id()}"
            list(pool.map(users.get, [url] * 8))
        assert shared.created == 20
