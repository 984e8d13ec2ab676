"""Agents' sockets against the kernel's table: real listeners and connections, agents of threads."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from exporter.agent import pod
from exporter.observe import PodObserver, PodView
from exporter.port_watch import Deliveries
from exporter.state import state
from tests.exporter.agents import Agent, answer, app
from tests.lab.bokeh_servers import PATIENCE, wait_until


class Place:
    """A served port with connections, and an instance whose agents the test plays."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.instance = f"test-{secrets.token_hex(4)}"
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port: int = self.listener.getsockname()[1]
        self.sockets = [os.fstat(self.listener.fileno()).st_ino]

    def agent(self, slot: int | str = 0, **values: Any) -> Agent:
        """A worker that has the listening socket, unless told otherwise."""
        agent = Agent(self.instance, slot, answer(**{"sockets": self.sockets, **values}))
        self._stack.callback(agent.die)
        return agent

    def launcher(self, **values: Any) -> Agent:
        agent = Agent(self.instance, pod.LAUNCHER, {"draining": False, **values})
        self._stack.callback(agent.die)
        return agent

    def connect(self, *, accepted: bool = True) -> tuple[socket.socket, int]:
        """The client's end, and the number of the server's socket, 0 while not accepted."""
        client = self._stack.enter_context(socket.create_connection(self.listener.getsockname()))
        if not accepted:
            return client, 0
        ours = self._stack.enter_context(self.listener.accept()[0])
        return client, os.fstat(ours.fileno()).st_ino

    def observer(self, given: int | None = None, watched_s: float = 1000.0) -> PodObserver:
        observer = PodObserver(self.instance, given)
        observer.peers.deadline = PATIENCE  # no agent here answers too late
        observer._began -= watched_s
        return observer


@pytest.fixture
def place() -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(stack)


def users(seen: PodView) -> tuple[int, str]:
    values = state(seen)
    return values["connections"]["live"], values["quality"]


def test_an_idle_kept_alive_connection_of_a_watched_worker_is_nobody(place: Place) -> None:
    _, number = place.connect()
    place.agent(watching=True, sockets=[*place.sockets, number], started_age_s=500.0)
    seen = place.observer().observe()
    assert users(seen) == (0, "exact")
    assert seen.port.ports == (place.port,)
    assert seen.empty_for_s == pytest.approx(500.0, abs=5)


@pytest.mark.parametrize("accepted", [True, False], ids=["of another process", "not accepted yet"])
def test_a_connection_of_no_watched_worker_may_be_a_user(place: Place, accepted: bool) -> None:
    place.connect(accepted=accepted)
    place.agent(watching=True, apps={"/app": app(connected=2, live=2)})
    seen = place.observer().observe()
    assert users(seen) == (3, "estimated")
    assert seen.held_by == ("connections: 2", "connections without an agent: 1")


def test_an_agent_that_sees_no_server_in_its_process_never_turns_the_count_off(
    place: Place,
) -> None:
    _, number = place.connect()
    place.agent(watching=False, serving=False, sockets=[*place.sockets, number], apps={})
    seen = place.observer().observe()
    assert users(seen) == (1, "estimated")
    assert seen.ready
    assert seen.empty_for_s is None


def test_one_that_sees_none_is_estimated_while_nobody_is_there_either(place: Place) -> None:
    place.agent(watching=False, serving=False, apps={})
    seen = place.observer(watched_s=40.0).observe()
    assert users(seen) == (0, "estimated")
    assert seen.ready
    assert not seen.never_used
    assert seen.empty_for_s == pytest.approx(40.0, abs=5)


def test_a_connection_without_an_agent_that_ends_is_a_sign_of_a_user(place: Place) -> None:
    place.agent(watching=True, started_age_s=500.0)
    observer = place.observer()
    client, _ = place.connect()
    assert observer.observe().empty_for_s is None
    client.close()
    wait_until(lambda: observer.observe().port.unwatched == 0, "the connection to end")
    assert observer.observe().empty_for_s == pytest.approx(0.0, abs=5)


def test_one_that_leaves_while_another_one_comes_is_a_sign_too(place: Place) -> None:
    place.launcher(ports=[place.port])
    observer = place.observer()
    first, _ = place.connect()
    assert users(observer.observe()) == (1, "estimated")
    place.connect()
    first.close()
    wait_until(lambda: observer.observe().port.left_s is not None, "the first one to be missed")
    assert users(observer.observe()) == (1, "estimated")


def test_without_an_agent_what_was_before_may_have_been_a_user(place: Place) -> None:
    place.launcher(ports=[place.port])
    seen = place.observer(watched_s=7.0).observe()
    assert seen.ready
    assert seen.empty_for_s == pytest.approx(7.0, abs=5)
    assert state(seen)["last_disconnect_age_s"] == pytest.approx(7.0, abs=5)


def test_connections_of_a_port_that_was_closed_still_count(place: Place) -> None:
    """An app may stop to listen as soon as it wants to end."""
    place.launcher(ports=[place.port])
    observer = place.observer()
    place.connect()
    assert users(observer.observe()) == (1, "estimated")
    place.listener.close()
    seen = observer.observe()
    assert (seen.port.open, users(seen)) == (False, (1, "estimated"))
    assert seen.held_by == ("connections without an agent: 1",)


def test_other_ports_do_not_count(place: Place) -> None:
    """Such as those of probes and scrapes."""
    place.agent(watching=True)
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.create_connection(other.getsockname()),
    ):
        assert users(place.observer().observe()) == (0, "exact")


@pytest.fixture
def second(place: Place) -> Iterator[Place]:
    """A server without an agent below the same launcher, beside one with an agent."""
    with ExitStack() as stack:
        other = Place(stack)
        place.agent(watching=True, started_age_s=500.0)
        yield other


def test_a_second_server_without_an_agent_has_users_too(place: Place, second: Place) -> None:
    place.launcher(ports=[place.port, second.port], sockets=[*place.sockets, *second.sockets])
    observer = place.observer()
    assert users(observer.observe()) == (0, "estimated")
    client, number = second.connect()
    assert number not in second.sockets
    seen = observer.observe()
    assert users(seen) == (1, "estimated")
    assert seen.held_by == ("connections without an agent: 1",)
    assert not seen.never_used
    client.close()
    wait_until(lambda: not observer.observe().held_by, "the connection to end")
    assert observer.observe().empty_for_s == pytest.approx(0.0, abs=5)


def test_a_second_server_without_an_agent_is_told(
    place: Place, second: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.launcher(ports=[place.port, second.port])
    (line,) = lines_after(place.observer(), 31.0, capsys)
    assert f"the server on port {second.port} has no agent" in line
    assert "if it serves no users, name the port of the app with --app-port" in line


def test_with_the_port_named_no_other_one_counts(
    place: Place, second: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.launcher(ports=[place.port, second.port])
    second.connect()
    observer = place.observer(given=place.port)
    assert users(observer.observe()) == (0, "exact")
    assert lines_after(observer, 3600.0, capsys) == []


@pytest.mark.parametrize("owner", ["an agent", "another process below the launcher"])
def test_a_connection_between_processes_of_the_app_is_nobody(
    place: Place, second: Place, owner: str
) -> None:
    """Such as that of a session to a Dask scheduler."""
    client, number = second.connect()
    own = os.fstat(client.fileno()).st_ino
    below = [*place.sockets, *second.sockets, number]
    if owner == "an agent":
        place.agent(1, watching=True, sockets=[own])
    else:
        below.append(own)
    place.launcher(ports=[place.port, second.port], sockets=below)
    seen = place.observer().observe()
    assert users(seen) == (0, "estimated")
    assert seen.empty_for_s == pytest.approx(500.0, abs=5)


def test_a_proxy_below_the_launcher_hides_no_users_of_the_named_port(place: Place) -> None:
    client, number = place.connect()
    own = os.fstat(client.fileno()).st_ino
    place.launcher(ports=[place.port], sockets=[*place.sockets, number, own])
    assert users(place.observer(given=place.port).observe()) == (1, "estimated")


def test_the_closed_port_of_a_helper_counts_no_connection_that_the_app_opens(
    place: Place, second: Place
) -> None:
    launcher = place.launcher(ports=[place.port, second.port])
    observer = place.observer()
    observer.observe()
    second.listener.close()
    launcher.values = {"draining": False, "ports": [place.port]}
    observer.observe()
    with (
        socket.create_server(("127.0.0.1", 0)) as elsewhere,
        socket.create_connection(
            elsewhere.getsockname(), source_address=("127.0.0.1", second.port)
        ),
    ):
        observer.observe()
        assert users(observer.observe()) == (0, "exact")


def test_agents_from_before_are_held_to_the_port_by_number(place: Place) -> None:
    """They do not tell of their sockets: more connections than they know may be users."""
    place.launcher(ports=[place.port])
    older = place.agent(sockets=None, apps={"/app": app(connected=2, live=2, stale=1)})
    del older.values["sockets"]  # type: ignore[union-attr, arg-type]
    observer = place.observer()
    for _ in range(3):
        place.connect()
    assert users(observer.observe()) == (2, "exact")
    place.connect()
    assert users(observer.observe()) == (3, "estimated")


def lines_after(
    observer: PodObserver, seconds: float, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    observer.observe()
    since = observer._watch._bare_since
    for what in since:
        since[what] -= seconds
    for _ in range(2):
        observer.observe()
    return capsys.readouterr().err.splitlines()


def test_a_port_without_an_agent_is_told_once_after_half_a_minute(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.launcher(ports=[place.port])
    observer = place.observer()
    assert lines_after(observer, 20.0, capsys) == []
    (line,) = lines_after(observer, 31.0, capsys)
    assert line.startswith(f"bokeh-exporter: the server on port {place.port} has no agent")
    assert "PYTHONPATH" in line
    assert lines_after(observer, 3600.0, capsys) == []


def test_an_agent_that_sees_no_sessions_is_told(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.agent(watching=False, serving=False)
    (line,) = lines_after(place.observer(), 31.0, capsys)
    assert f"does not see the sessions of the server on port {place.port}" in line


def test_a_named_port_on_which_nothing_listens_is_told_with_the_real_one(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.agent(watching=True)
    (line,) = lines_after(place.observer(given=9), 31.0, capsys)
    problem = "no process listens on port 9 of --app-port"
    assert f"{problem}; set it to a port of the app: {place.port}" in line


def test_a_port_with_an_agent_is_not_worth_a_line(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.agent(watching=True)
    assert lines_after(place.observer(), 3600.0, capsys) == []


def test_a_dashboard_of_a_library_within_the_app_has_no_users_of_ours(place: Place) -> None:
    counters = [["bokeh_sessions_created_total", [url], n] for url, n in (("/app", 5), ("/x", 9))]
    place.agent(
        watching=True,
        counters=counters,
        apps={
            "/app": {**app(connected=1, live=1), "ports": [place.port]},
            "/x": {**app(connected=4, live=4), "ports": [8787]},
            "/unused": {**app(), "ports": []},
        },
    )
    values = state(place.observer(given=place.port).observe())
    assert values["sessions"]["connected"] == 1
    assert values["created_total"] == 5
    assert set(values["apps"]) == {"/app", "/unused"}


def test_a_named_port_on_which_nothing_listens_leaves_nobody_out(place: Place) -> None:
    apps = {"/app": {**app(connected=3, live=3), "ports": [place.port]}}
    place.agent(watching=True, apps=apps)
    assert users(place.observer(given=9).observe()) == (3, "exact")


@pytest.mark.parametrize("sockets", [None, []], ids=["another carrier", "a unix socket"])
def test_of_sessions_and_connections_that_may_be_the_same_users_the_larger_number_counts(
    place: Place, sockets: list[int] | None
) -> None:
    _, number = place.connect()
    for _ in range(2):
        place.connect()
    place.launcher(ports=[place.port])
    worker = {"sockets": [*place.sockets, number]} if sockets is None else {"sockets": sockets}
    apps = {"/app": app(connected=2, live=2)}
    agent = place.agent(watching=sockets is not None, apps=apps, **worker)
    assert users(place.observer().observe()) == (3, "estimated")
    agent.values = answer(watching=sockets is not None, apps={"/app": app()}, **worker)
    assert users(place.observer().observe()) == (3, "estimated")


def test_a_log_that_cannot_be_written_ends_no_observer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.launcher(ports=[place.port])
    observer = place.observer()
    observer.observe()
    observer._watch._bare_since = dict.fromkeys(observer._watch._bare_since, 0.0)
    monkeypatch.setattr("sys.stderr", None)  # as Python has it where it was closed before
    assert observer.observe().quality == "estimated"
    assert observer._watch._told


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        pytest.param([(0, 9000), (29, 9000)], 1, id="it may only be slow"),
        pytest.param([(0, 9000), (31, 9000)], 0, id="nothing was taken for half a minute"),
        pytest.param([(0, 9000), (29, 8000), (58, 8000)], 1, id="some of it was taken meanwhile"),
        pytest.param([(0, 9000), (29, 9100), (31, 9100)], 0, id="a ping adds to what is not taken"),
        pytest.param([(0, 9000), (1, None)], 0, id="all of it was taken"),
    ],
)
def test_an_answer_is_delivered_while_its_client_takes_bytes(
    readings: list[tuple[float, int | None]], expected: int
) -> None:
    deliveries, count = Deliveries(), 0
    for at, left in readings:
        count = deliveries.count({} if left is None else {("here", "there"): left}, at)
    assert count == expected


def test_a_response_that_a_slow_client_has_received_is_a_sign_of_a_user(place: Place) -> None:
    """Its page opens a WebSocket after that, however long ago the server has written it."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(place.listener.getsockname())
        ours = place.listener.accept()[0]
        number = os.fstat(ours.fileno()).st_ino
        place.agent(watching=True, sockets=[*place.sockets, number], started_age_s=500.0)
        observer = place.observer()
        assert observer.observe().empty_for_s == pytest.approx(500.0, abs=5)
        with ours:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
            ours.sendall(b"x" * 500_000)
            delivering = ("responses still being delivered: 1",)
            wait_until(lambda: observer.observe().held_by == delivering, "the delivery")
            left = 500_000
            while left:
                left -= len(client.recv(100_000))
            wait_until(lambda: not observer.observe().held_by, "the last byte")
            seen = observer.observe()
            assert seen.empty_for_s == pytest.approx(0.0, abs=5)
            assert not seen.never_used


@pytest.mark.parametrize(
    ("readings", "ended_at"),
    [
        pytest.param([(0, 9000), (1, 8000)], None, id="it goes on"),
        pytest.param([(0, 9000), (40, 8000), (41, None)], 41, id="all of it was taken"),
        pytest.param([(0, 9000), (31, 9000), (32, None)], None, id="its client was gone before"),
        pytest.param([(0, None), (1, None)], None, id="there was none"),
    ],
)
def test_the_end_of_a_delivery_is_remembered(
    readings: list[tuple[float, int | None]], ended_at: float | None
) -> None:
    deliveries = Deliveries()
    for at, left in readings:
        deliveries.count({} if left is None else {("here", "there"): left}, at)
    assert deliveries.ended_at == ended_at
