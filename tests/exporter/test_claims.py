"""The claim to a connection that is sent to another worker, by which exactly one answers."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tornado.iostream import IOStream

from exporter.agent import board, claim, giving, handed_stream, handoff, taking
from exporter.agent.board import Board, Seat
from exporter.agent.thread_errors import ThreadErrors

READ = b"GET /app HTTP/1.1\r\n\r\n"
LONG, SHORT = 20.0, 0.02
RACES, RACERS = 5, 4


def test_one_of_many_processes_gets_a_claim_that_all_want_at_once() -> None:
    for _ in range(RACES):
        with claim.new() as token:
            ready, go = os.pipe()
            racers = [fork_racer(token, ready, go) for _ in range(RACERS)]
            os.close(ready)
            os.close(go)  # all of them run
            codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in racers]
        assert sorted(codes) == [0] * (RACERS - 1) + [1]


def fork_racer(token: int, ready: int, go: int) -> int:
    """Fork a process that exits with 1 if it gets the claim."""
    pid = os.fork()
    if pid == 0:
        os.close(go)
        os.read(ready, 1)
        os._exit(claim.get(token))
    return pid


# The giver ---------------------------------------------------------------------------------------


@dataclass
class Taker:
    """Another worker, by hand: it does nothing that a test does not have it do.

    given: the giver has come to an end, whoever has got the claim.
    """

    name: str = field(default_factory=lambda: f"\0claims-{secrets.token_hex(8)}")
    listener: socket.socket = field(
        default_factory=lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    )
    given: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.listener.bind(self.name)
        self.listener.listen()
        self.listener.setblocking(False)

    async def receive(self) -> tuple[socket.socket, list[int]]:
        giver, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        _, descriptors, _, _ = socket.recv_fds(giver, taking.MOST_BYTES, 2)
        return giver, descriptors

    async def ends_before_it_receives(self) -> None:
        self.listener.close()

    async def refuses(self) -> None:
        giver, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        giver.close()

    async def ends_before_it_claims(self) -> None:
        giver, descriptors = await self.receive()
        close(giver, descriptors)

    async def ends_after_it_has_claimed(self) -> None:
        giver, descriptors = await self.receive()
        assert claim.get(descriptors[1])
        close(giver, descriptors)

    async def claims_and_stands_still(self) -> None:
        giver, descriptors = await self.receive()
        assert claim.get(descriptors[1])
        await self.given.wait()
        close(giver, descriptors)

    async def is_too_busy(self) -> None:
        await self.given.wait()
        giver, descriptors = await self.receive()
        assert not claim.get(descriptors[1])
        close(giver, descriptors)


def close(giver: socket.socket, descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
    giver.close()


@pytest.mark.parametrize(
    ("does", "patience", "taken"),
    [
        pytest.param(Taker.ends_before_it_receives, LONG, False, id="killed before it receives"),
        pytest.param(Taker.refuses, LONG, False, id="has no free descriptor, or no such server"),
        pytest.param(Taker.ends_before_it_claims, LONG, False, id="killed before it claims"),
        pytest.param(Taker.ends_after_it_has_claimed, LONG, True, id="killed once it has claimed"),
        pytest.param(Taker.claims_and_stands_still, SHORT, True, id="stands still once it has"),
        pytest.param(Taker.is_too_busy, SHORT, False, id="too busy"),
    ],
)
def test_the_giver_answers_only_what_the_other_worker_has_not_claimed(
    does: Callable[[Taker], Awaitable[None]], patience: float, taken: bool
) -> None:
    taker, before = Taker(), open_descriptors()

    async def give() -> bool:
        doing = asyncio.ensure_future(does(taker))
        sent = await giving._send(taker.name, giving.Choice(0, os.getpid(), patience), own, READ)
        taker.given.set()
        await doing
        return sent

    with closing(taker.listener):
        client, own = connected()
        with client, own:
            assert asyncio.run(give()) is taken
            own.sendall(b"still open")
            assert client.recv(10) == b"still open"
    assert open_descriptors() == before - 1  # the listener's


def test_a_connection_is_sent_to_the_process_that_is_on_the_board_only() -> None:
    with closing(Taker().listener) as listener, socket.socket() as own:
        name = listener.getsockname().decode()
        parent = giving.Choice(0, os.getppid(), LONG)
        sent = asyncio.run(giving._send(name, parent, own, READ))
        assert sent is False
        giver, _ = listener.accept()
        with giver:
            assert socket.recv_fds(giver, 10, 2)[:2] == (b"", [])


# The taker ---------------------------------------------------------------------------------------


class Server:
    """An HTTP server that reads from the streams that it is given."""

    max_buffer_size = read_chunk_size = None

    def __init__(self) -> None:
        self.streams: list[Any] = []

    def handle_stream(self, stream: Any, _: Any) -> None:
        self.streams.append(stream)


@pytest.mark.parametrize("is_late", [False, True], ids=["sent at once", "sent later"])
@pytest.mark.parametrize(
    ("sent", "is_claimed", "serves", "taken"),
    [
        pytest.param(2, False, True, True, id="a connection that nobody has claimed"),
        pytest.param(2, True, True, False, id="a connection that its giver has taken back"),
        pytest.param(1, False, True, False, id="a connection whose claim found no descriptor"),
        pytest.param(0, False, True, False, id="a giver that is killed before it sends"),
        pytest.param(2, False, False, False, id="a port that this worker does not serve"),
    ],
)
def test_a_worker_takes_a_connection_once_it_has_the_claim(
    sent: int, is_claimed: bool, serves: bool, taken: bool, is_late: bool
) -> None:
    server, before = Server(), open_descriptors()
    seat = Seat(Board(2), 0)

    async def take(token: int) -> None:
        giver, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        errors = ThreadErrors("a test")
        server_at = {own.getsockname()[1]: server if serves else None}.get
        if is_late:
            taking.take_from(end, seat, server_at, errors)
        if sent:
            socket.send_fds(giver, [READ], [own.fileno(), token][:sent])
        else:
            giver.close()
        if not is_late:
            taking.take_from(end, seat, server_at, errors)
        await until(lambda: end.fileno() < 0)
        giver.close()
        for stream in server.streams:
            assert await stream.read_until(b"\r\n\r\n") == READ
            stream.close()

    client, own = connected()
    with client, own, claim.new() as token:
        assert claim.get(token) if is_claimed else True
        asyncio.run(take(token))
        assert bool(server.streams) is taken
        assert claim.get(token) is not (taken or is_claimed)
        if taken:
            assert client.recv(1) == b""  # ended, although the giver still has a descriptor
    assert open_descriptors() == before


async def until(happened: Callable[[], bool]) -> None:
    while not happened():
        await asyncio.sleep(0.001)


class Connection:
    """An HTTP connection, which can be detached from its stream."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def detach(self) -> Any:
        return self.stream


def test_a_connection_that_is_handed_for_the_second_time_stays_open() -> None:
    async def hand_on() -> None:
        stream = handed_stream.handed(own, b"")
        with handed_stream.detached(Connection(stream)) as kept:
            assert stream.closed()
            kept.sendall(b"still open")
            assert client.recv(20) == b"still open"

    client, own = connected()
    with client, own:
        asyncio.run(hand_on())


@pytest.mark.parametrize("hands", [True, False], ids=["hand-off", "no hand-off"])
def test_messages_are_sent_at_once_where_connections_are_handed(
    hands: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def open_websocket() -> int:
        own.setblocking(False)
        stream = IOStream(own)
        handoff.opens(stream)
        return own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    monkeypatch.setattr(board, "_seats", [Seat(Board(2), 0)] if hands else [])
    client, own = connected()
    with client, own:
        assert bool(asyncio.run(open_websocket())) is hands


def connected() -> tuple[socket.socket, socket.socket]:
    """A client, and the server's end of its TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return client, listener.accept()[0]


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
