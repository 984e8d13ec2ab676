"""The agent's socket: whatever a client does there, the next one gets its answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from exporter import collect
from tests.exporter import agent_socket, stranger
from tests.lab.bokeh_servers import Served, bokeh_serve, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for all tests that do not make it drain."""
    with bokeh_serve(tmp_path_factory.mktemp("server")) as started:
        started.wait_workers(1, 60)
        yield started


def connected(server: Served) -> socket.socket:
    (name,) = agent_socket.agents(server)
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(name.address)
    return client


def asked(server: Served) -> float:
    """Seconds until the agent has answered a collector."""
    names = agent_socket.agents(server)
    began = time.monotonic()
    assert len(collect.ask(names, deadline=5)) == 1
    return time.monotonic() - began


def test_clients_that_dribble_hang_or_shout_keep_nobody_waiting(server: Served) -> None:
    usual = min(asked(server) for _ in range(5))
    with ExitStack() as stack:

        def asked_beside_them() -> float:
            clients = [stack.enter_context(connected(server)) for _ in range(10)]
            lines = [
                b"{",  # it never ends
                b"x" * 60_000,
                b"no JSON\n",
                b'["drain"]\n',
                b'{"drain": "please"}\n',
                b'{"arrived": {"no": "list"}}\n',
            ]
            for client, line in zip(clients, lines, strict=False):
                agent_socket.say(client, line)
            clients[6].close()
            return asked(server)

        # The machine too may keep somebody waiting for once.
        assert min(asked_beside_them() for _ in range(3)) < usual + 0.5
        time.sleep(1.2)
        assert agent_socket.report(server)["draining"] is False
        assert "Traceback" not in server.output


@pytest.mark.parametrize("line", [b'{"drain": true}\n', b'{"drain": true}'], ids=["line", "to EOF"])
def test_a_worker_drains_that_is_told_to(tmp_path: Path, line: bytes) -> None:
    with bokeh_serve(tmp_path) as server:
        server.wait_workers(1, 60)
        # An agent waits for the line for 0.2 s only, so it is told until its answer confirms it.
        wait_until(lambda: agent_socket.report(server, line)["draining"], "the worker to drain")


@pytest.mark.parametrize("kind", ["arrived", "sent"])
def test_another_workers_news_is_heard_and_not_answered(server: Served, kind: str) -> None:
    def answer() -> bytes:
        with connected(server) as client:
            agent_socket.say(client, f'{{"{kind}": ["0123456789abcdef"]}}\n'.encode())
            return agent_socket.hear(client)

    wait_until(lambda: answer() == b"", "no answer")  # one that comes late is not waited for


def test_nobody_beside_a_worker_makes_it_drain_and_a_stranger_is_not_answered(
    server: Served,
) -> None:
    if not stranger.IS_ROOT:
        pytest.skip(stranger.NO_ROOT)
    (name,) = agent_socket.agents(server)
    line = agent_socket.DRAIN.decode()
    assert '"draining":false' in stranger.ask(name.text, line, uid=0)
    assert stranger.ask(name.text, line) == ""
    assert agent_socket.report(server)["draining"] is False


def test_a_client_that_neither_writes_nor_ends_is_answered_at_once(server: Served) -> None:
    with connected(server) as client:
        began = time.monotonic()
        answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.endswith(b"}")
        assert time.monotonic() - began < 5
