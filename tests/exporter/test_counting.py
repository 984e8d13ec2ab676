"""Counting real users of real Bokeh servers, whatever the workers do."""

from __future__ import annotations

import base64
import json
import math
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import pytest
from tornado.httpclient import HTTPClientError

from exporter.agent.board import BETWEEN_SECONDS
from exporter.ledger import Ledger
from exporter.observe import sum_apps
from tests.exporter import agent_socket
from tests.exporter.agents import patient
from tests.lab.bokeh_servers import (
    APP,
    BIN,
    Served,
    bokeh_serve,
    free_port,
    served,
    wait_until,
)
from tests.lab.processes import stopped
from tests.lab.websocket_user import Users, token_in

pytestmark = pytest.mark.slow


# For so many seconds after its user said so it works on, in a thread.
WORKING = f"""{APP}
import threading

document = curdoc()
session_of = document.session_context

def block(seconds):
    session_of.session.block_expiration()
    threading.Timer(seconds, session_of.session.unblock_expiration).start()

def hold(seconds):
    document.hold()
    threading.Timer(seconds, document.unhold).start()

document.on_message("block", block)
document.on_message("hold", hold)
"""
# So soon Bokeh discards a session without a client: a busy machine opens its WebSocket before that.
SOON = ("--unused-session-lifetime", "3000", "--check-unused-sessions", "300")
MANY = 30  # more than one for each test and each time that it is made again


@dataclass(frozen=True)
class App:
    """One of the applications of a server of one worker, that no other test uses."""

    server: Served
    route: str

    @property
    def url(self) -> str:
        return urljoin(self.server.url, self.route)

    def value(self, name: str, *labels: str) -> float:
        """The value of one of its series, by the further labels."""
        every = ",".join([f'app="{self.route}"', *labels])
        return self.server.value(f"{name}{{{every}}}")

    def state(self) -> dict[str, int]:
        """What the sidecar says of its sessions and connections."""
        found: dict[str, int] = self.server.state()["apps"][self.route]
        return found

    def report(self) -> dict[str, int]:
        """What the agent says of it."""
        found: dict[str, int] = agent_socket.report(self.server)["apps"][self.route]
        return found


@pytest.fixture(scope="module")
def unused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[App]]:
    """The applications of one server; it takes as long to start as for a single one."""
    folder, port = tmp_path_factory.mktemp("apps"), free_port()
    files = [folder / f"app{number}.py" for number in range(MANY)]
    for file in files:
        file.write_text(WORKING)
    command = [str(BIN / "bokeh"), "serve", *(file.name for file in files), "--port", str(port)]
    with served(folder, command, port=port) as server:
        server.wait_workers(1)
        yield (App(server, f"/{file.stem}") for file in files)


@pytest.fixture
def app(unused: Iterator[App]) -> App:
    return next(unused)


def second_collector(server: Served) -> Ledger:
    return patient(agent_socket.instance_of(server))


def a_worker_with_users(server: Served) -> int:
    """Its pid. The kernel may give all users to one worker."""
    workers = second_collector(server).collect().workers
    return next(w.name.pid for w in workers if w.report and w.report.apps["/app"].connected)


def test_sessions_are_counted_over_all_workers(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, "--num-procs", "4") as server, Users() as users:
        server.wait_workers(4)
        there = [users.join(server.url) for _ in range(12)]
        wait_until(lambda: server.connected() == 12, "all users to be counted")
        state = server.state()
        assert state["connections"] == {"live": 12, "stale": 0}
        assert state["apps"]["/app"]["connected"] == 12
        for user in there[:5]:
            users.leave(user)
        wait_until(lambda: server.connected() == 7, "seven users left over")
        assert server.state()["last_disconnect_age_s"] < 5
        assert server.value('bokeh_sessions{app="/app",quality="exact",state="connected"}') == 7
        closed = 'bokeh_connections_closed_total{app="/app",code="1000"}'
        wait_until(lambda: server.value(closed) == 5, "five closes to be counted")


def test_the_copy_of_a_session_at_the_worker_that_made_the_page_is_no_user(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, "--num-procs", "2") as server, Users() as users:
        first, second = (worker["pid"] for worker in server.wait_workers(2))
        with stopped(second):  # which of them answers is the kernel's choice otherwise
            token = token_in(users.get(server.url))
        time.sleep(BETWEEN_SECONDS)  # one that has just created a session may be busy
        with stopped(first):
            users.connect(server.url, token)

        def counted() -> tuple[int, int]:
            sessions = server.state()["sessions"]
            return sessions["connected"], sessions["lingering"]

        # The first worker answers again only a moment after it goes on.
        wait_until(lambda: counted() == (1, 1), "the user and the copy")
        assert server.state()["connections"] == {"live": 1, "stale": 0}


def test_a_killed_worker_leaves_the_count_at_once_and_the_totals_stay(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, "--num-procs", "2") as server, Users() as users:
        server.wait_workers(2)
        for _ in range(8):
            users.join(server.url)
        victim = a_worker_with_users(server)
        opened = 'bokeh_connections_opened_total{app="/app"}'
        wait_until(lambda: server.value(opened) == 8, "all users to be counted")
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: server.connected() < 8, "the dead worker's users to leave the count")
        after = server.state()
        assert victim not in {w["pid"] for w in after["workers"]}
        assert after["last_disconnect_age_s"] < 5
        assert server.value(opened) == 8
        lost = 'bokeh_sessions_lost_total{app="/app"}'
        assert server.value(lost) == 8 - after["sessions"]["connected"]
        server.wait_workers(2)  # Tornado starts it anew, in the same slot
        wait_until(lambda: server.value("bokeh_up") == 1, "both workers to answer")


@pytest.mark.parametrize(
    ("argument", "answers"),
    [("busy", True), ("gil", False)],
    ids=["in Python code", "in C code that keeps the GIL"],
)
def test_a_blocked_worker_keeps_its_last_value_and_is_flagged(
    app: App, argument: str, answers: bool
) -> None:
    server = app.server
    with Users() as users, ThreadPoolExecutor() as pool:
        users.join(app.url)
        wait_until(lambda: app.state()["connected"] == 1, "the user to be counted")
        # For longer than it takes to see all of it: a page of a silent worker takes half a second.
        blocking = pool.submit(users.get, app.url, **{argument: "8"})
        stalled = 'bokeh_worker_stalled_seconds{worker="0"}'
        wait_until(lambda: server.value(stalled) > 1.5, "the stall to show")
        wait_until(lambda: server.state()["workers"][0]["ok"] is answers, "the flag")
        state = server.state()
        assert state["apps"][app.route]["connected"] == 1
        assert state["workers"][0]["stalled_s"] > 1.5
        for up in ("bokeh_up", 'bokeh_worker_up{worker="0"}'):
            wait_until(lambda up=up: server.value(up) == float(answers), up)
        blocking.result()
        wait_until(lambda: server.value(stalled) == 0, "the stall to be over")
        wait_until(lambda: server.value("bokeh_up") == 1, "the worker to answer")


def test_a_session_that_is_being_created_is_pending(app: App) -> None:
    with Users() as users, ThreadPoolExecutor() as pool:
        creating = pool.submit(users.get, app.url, busy="3")
        wait_until(lambda: app.state()["pending"] == 1, "one pending session")
        creating.result()
        wait_until(lambda: app.state()["pending"] == 0, "no pending session")
        assert app.state()["lingering"] == 1
        histogram = "bokeh_session_create_duration_seconds_bucket"
        assert app.value(histogram, 'le="2.5"') == 0
        assert app.value(histogram, 'le="10.0"') == 1


def test_sessions_without_a_client_are_counted_as_orphans_once_discarded(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, *SOON) as server, Users() as users:
        server.wait_workers(1)
        users.leave(users.join(server.url))
        users.get(server.url)
        destroyed = 'bokeh_sessions_destroyed_total{app="/app"}'
        wait_until(lambda: server.value(destroyed) == 2, "both sessions to be discarded")
        assert server.value('bokeh_sessions_created_total{app="/app"}') == 2
        for which in ("bokeh_sessions_orphaned_total", "bokeh_session_duration_seconds_count"):
            counted = f'{which}{{app="/app"}}'  # a moment after the session is gone
            wait_until(lambda counted=counted: server.value(counted) == 1, counted)
        assert server.value('bokeh_sessions{app="/app",quality="exact",state="lingering"}') == 0


def test_a_session_is_used_once_and_awaited_until_its_page_has_had_time_to_load(app: App) -> None:
    used, per_user = "bokeh_sessions_used_total", "bokeh_sessions_per_user_ratio"
    with Users() as users:
        token = token_in(users.get(app.url))
        assert (app.value(used), math.isnan(app.value(per_user))) == (0, True)
        for _ in range(2):  # a page that reconnects
            users.connect(app.url, token)
            wait_until(lambda: (app.value(used), app.value(per_user)) == (1, 1), "one user")
        users.get(app.url)
        assert app.report()["awaited"] == 1
        assert app.value(per_user) == 1


def test_sessions_that_nobody_came_to_are_sessions_per_user(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, *SOON) as server, Users() as users:
        server.wait_workers(1)
        users.join(server.url)
        users.get(server.url)
        orphaned = 'bokeh_sessions_orphaned_total{app="/app"}'
        wait_until(lambda: server.value(orphaned) == 1, "the session to be discarded")
        assert server.value('bokeh_sessions_per_user_ratio{app="/app"}') == 2


def test_a_script_that_raises_is_a_create_error(app: App) -> None:
    with Users() as users:
        users.get(app.url, fail="yes")
        users.get(app.url)
        # Tornado logs a request when its response has been sent.
        requests = "bokeh_request_duration_seconds_count"
        wait_until(lambda: app.value(requests, 'code="2xx"') == 2, "both requests to be counted")
        assert app.value("bokeh_session_create_errors_total") == 1


def test_messages_are_timed_and_failing_callbacks_counted(app: App) -> None:
    with Users() as users:
        user = users.join(app.url)
        assert users.say(user, "sleep", 3) == "OK"
        assert users.say(user, "sleep", "no number") == "ERROR"
        wait_until(lambda: app.value("bokeh_message_errors_total") == 1, "the error to be counted")
        # The document's first pull, the callback that sleeps, the callback that raises.
        seconds = "bokeh_message_duration_seconds_bucket"
        assert app.value(seconds, 'le="2.5"') == 2
        assert app.value(seconds, 'le="30.0"') == 3
        assert users.is_connected(user)


def test_what_the_server_does_not_understand_is_a_close_with_its_own_code(app: App) -> None:
    closed = "bokeh_connections_closed_total"
    with Users() as users:
        user = users.join(app.url)
        with pytest.raises(ConnectionError, match="10000"):
            users.send(user, "NO-SUCH-MESSAGE", {})
        wait_until(lambda: app.value(closed, 'code="10000"') == 1, "the server to see its end too")


def await_refusal(server: Served, reason: str) -> None:
    """One is counted for that reason; the client may know of it first."""
    counted = f'bokeh_connections_rejected_total{{reason="{reason}"}}'
    wait_until(lambda: server.value(counted) == 1, f"one refusal: {reason}")


def test_refused_connections_are_counted_by_reason(tmp_path: Path) -> None:
    short = ("--session-token-expiration", "1")
    with bokeh_serve(tmp_path, *short) as server, Users() as users:
        server.wait_workers(1)
        token = token_in(users.get(server.url))
        with pytest.raises(HTTPClientError):
            users.connect(server.url, token, origin="http://elsewhere.example")
        time.sleep(2.1)  # the token's clock has whole seconds
        with pytest.raises(ConnectionError):
            users.connect(server.url, token)
        for reason in ("origin", "token_expired"):
            await_refusal(server, reason)
        assert server.connected() == 0


def test_a_token_with_a_wrong_signature_is_refused_and_counted(tmp_path: Path) -> None:
    signed = {"BOKEH_SIGN_SESSIONS": "yes", "BOKEH_SECRET_KEY": "k" * 40}
    with bokeh_serve(tmp_path, environment=signed) as server, Users() as users:
        server.wait_workers(1)
        token = token_in(users.get(server.url))
        with pytest.raises(ConnectionError):
            users.connect(server.url, f"{token[:-6]}AAAAAA")
        await_refusal(server, "bad_signature")
        users.connect(server.url, token)
        wait_until(lambda: server.connected() == 1, "the user to be counted")


def test_a_websocket_without_a_login_is_refused_and_counted(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "app.py").write_text("import panel as pn\npn.panel('hello').servable()\n")
    command = [str(BIN / "panel"), "serve", "app.py", "--port", str(port)]
    command += ["--basic-auth", "password", "--cookie-secret", "secret"]
    claims = {"session_id": "x" * 44, "session_expiry": 1 << 40}
    token = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    with served(tmp_path, command, port=port) as server, Users() as users:
        server.wait_workers(1)
        with pytest.raises(HTTPClientError, match="403"):
            users.connect(server.url, token)
        await_refusal(server, "auth")


def test_a_session_that_panel_keeps_for_reuse_is_nobody(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "app.py").write_text("import panel as pn\npn.panel('hello').servable()\n")
    command = [str(BIN / "panel"), "serve", "app.py", "--port", str(port), "--reuse-sessions"]
    brief = ("--reconnect", "1s")
    with served(tmp_path, command, port=port, options=brief) as server, Users() as users:
        server.wait_workers(1)
        users.leave(users.join(server.url))
        wait_until(lambda: server.connected() == 0, "the user to be gone")
        sessions = server.state()["sessions"]
        assert (sessions["blocked"], sessions["lingering"]) == (0, 1)
        server.terminate()  # it is Panel's cache and no work, and does not hold up a drain
        assert server.exit_code() == 0


@pytest.mark.parametrize("kind", ["block", "hold"])
def test_work_that_the_application_goes_on_with_is_blocked_until_it_is_done(
    app: App, kind: str
) -> None:
    with Users() as users:
        user = users.join(app.url)
        assert users.say(user, kind, 4) == "OK"
        users.leave(user)
        wait_until(lambda: app.state()["blocked"] == 1, "the work without a user")
        wait_until(lambda: app.state()["blocked"] == 0, "the work to be done")


def test_work_without_a_user_holds_a_drain_until_it_is_done(tmp_path: Path) -> None:
    soon = ("--reconnect", "1s")
    with bokeh_serve(tmp_path, app=WORKING, options=soon) as server, Users() as users:
        server.wait_workers(1)
        user = users.join(server.url)
        until = time.monotonic() + 7
        assert users.say(user, "block", 8) == "OK"
        users.leave(user)
        wait_until(lambda: server.state()["sessions"]["blocked"] == 1, "the work without a user")
        server.terminate()
        while time.monotonic() < until:
            assert server.get("/readyz")[0] == 200, f"the work was broken off: {server.output}"
            time.sleep(0.1)
        assert server.exit_code() == 0


def test_a_reload_of_the_sidecar_loses_nothing_that_workers_still_know(app: App) -> None:
    with Users() as users:
        users.join(app.url)
        seen = second_collector(app.server).collect()
        assert seen.counters["bokeh_connections_opened_total", (app.route,)] == 1
        assert sum_apps(seen.reports)[app.route].connected == 1
