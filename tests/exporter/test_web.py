"""The small web server: whatever clients do, the next one gets its answer, in bounded memory."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.web import PLAIN, Handler, Limits, Request, Response, Server
from tests.lab.bokeh_servers import wait_until

PATIENCE = 20.0
SOON = Limits(request_seconds=1.0, idle_seconds=1.0)
LONG = Response(200, PLAIN, b"x" * (16 << 20))  # more than the kernel takes for a silent client


def echo(request: Request) -> Response:
    return Response(200, PLAIN, f"{request.path} {request.headers.get('accept')}".encode())


@contextmanager
def server_of(answers: Callable[[], Handler], limits: Limits | None = None) -> Iterator[Server]:
    server = Server("127.0.0.1", 0, answers, limits)
    server.start()
    try:
        yield server
    finally:
        server.close()


@contextmanager
def serving(
    answers: Callable[[], Handler] = lambda: echo, limits: Limits | None = None
) -> Iterator[int]:
    with server_of(answers, limits) as server:
        yield server.port


def connected(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0))


def said(client: socket.socket) -> bytes:
    """All that comes until the end of the connection."""
    found = b""
    with suppress(ConnectionError):
        while chunk := client.recv(65536):
            found += chunk
    return found


def page(port: int, path: str = "/a", source: str = "127.0.0.1") -> tuple[int, bytes]:
    client = http.client.HTTPConnection("127.0.0.1", port, PATIENCE, (source, 0))
    try:
        client.request("GET", path)
        response = client.getresponse()
        return response.status, response.read()
    finally:
        client.close()


def test_a_connection_is_kept_and_a_query_ignored() -> None:
    with serving() as port:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        for method, body in (("GET", b"/a text/plain"), ("HEAD", b""), ("GET", b"/a text/plain")):
            client.request(method, "/a?b=c", headers={"Accept": "text/plain"})
            response = client.getresponse()
            assert (response.status, response.read()) == (200, body)
            assert response.headers["Content-Length"] == "13"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
        client.close()


def test_requests_that_come_together_are_answered_one_after_the_other() -> None:
    with serving() as port, connected(port) as client:
        client.sendall(
            b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
            b"GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
        answers = said(client)
    assert answers.index(b"/1 None") < answers.index(b"/2 None")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 413),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 4000 + b"\r\n", 431),
    ],
    ids=[
        "another method", "a body", "a body of unknown length", "another coding", "no host",
        "no length", "TLS", "a long path", "many headers",
    ],
)  # fmt: skip
def test_what_no_page_wants_is_refused_and_the_connection_ended(
    request_: bytes, status: int
) -> None:
    with serving() as port:
        with connected(port) as client:
            client.sendall(request_)
            assert said(client).startswith(f"HTTP/1.1 {status} ".encode())
        assert page(port)[0] == 200


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\nX:"], ids=["silent", "dripping"])
def test_a_client_that_is_too_slow_with_its_request_is_dropped(beginning: bytes) -> None:
    with serving(limits=SOON) as port, connected(port) as client:
        client.sendall(beginning)
        until = time.monotonic() + PATIENCE
        dropped = False
        while beginning and not dropped and time.monotonic() < until:
            try:  # each byte is news, but not of a new request
                client.sendall(b"x")
            except ConnectionError:
                dropped = True
            time.sleep(0.05)
        assert said(client) == b""
        assert page(port)[0] == 200


def test_a_client_that_does_not_take_its_answer_is_dropped() -> None:
    asked = threading.Event()

    def answer(_: Request) -> Response:
        asked.set()
        return LONG

    with server_of(lambda: answer, SOON) as server, connected(server.port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert asked.wait(PATIENCE)
        wait_until(lambda: not server._clients, "it to be dropped")
        assert len(said(client)) < len(LONG.body)


def test_a_client_that_says_nothing_more_is_dropped() -> None:
    with serving(limits=SOON) as port, connected(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert said(client).startswith(b"HTTP/1.1 200 ")


def test_whoever_takes_all_connections_keeps_no_other_address_out() -> None:
    with ExitStack() as clients, serving() as port:
        held = [clients.enter_context(connected(port)) for _ in range(300)]
        for client in held[-64:]:
            client.sendall(b"GET / HTTP/1.1\r\nX:")
        assert page(port, source="127.0.0.2") == (200, b"/a None")
        assert page(port) == (200, b"/a None")  # it displaces its own oldest


def test_a_connection_of_another_address_outlives_the_flood() -> None:
    with ExitStack() as clients, serving() as port:
        kept = http.client.HTTPConnection("127.0.0.1", port, PATIENCE, ("127.0.0.2", 0))
        for _ in range(3):
            kept.request("GET", "/kept")
            assert kept.getresponse().read() == b"/kept None"
            for _ in range(100):
                clients.enter_context(connected(port))
        kept.close()


def test_answers_that_nobody_takes_are_bounded_together() -> None:
    limits = replace(Limits(), unsent_bytes=30 << 20)
    with ExitStack() as clients, serving(lambda: lambda _: LONG, limits) as port:
        held = [clients.enter_context(connected(port)) for _ in range(8)]
        for client in held:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        lengths = [len(said(client)) for client in reversed(held)]
    whole = [length for length in lengths if length > len(LONG.body)]
    assert 1 <= len(whole) < 8


def test_all_who_wait_share_one_look() -> None:
    looks: list[int] = []
    first, go_on = threading.Event(), threading.Event()

    def answers() -> Handler:
        looks.append(len(looks))
        if len(looks) == 1:
            first.set()
            go_on.wait(PATIENCE)
        return lambda _: Response(200, PLAIN, b"%d" % looks[-1])

    with ExitStack() as clients, server_of(answers) as server:
        held = [clients.enter_context(connected(server.port)) for _ in range(5)]
        ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        held[0].sendall(ask)
        assert first.wait(PATIENCE)
        for client in held[1:]:
            client.sendall(ask)
        wait_until(lambda: server._requests.qsize() == len(held) - 1, "the others to wait")
        go_on.set()
        assert said(held[0])[-1:] == b"0"
        assert {said(client)[-1:] for client in held[1:]} <= {b"1", b"2"}
    assert len(looks) <= 3


@pytest.mark.parametrize("where", ["the look", "the page"])
def test_a_failure_is_a_500_and_one_line(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    fails = [True]

    def fail() -> None:
        if fails[0]:
            raise RuntimeError("on purpose\nand more")

    def answer(request: Request) -> Response:
        if where == "the page":
            fail()
        return echo(request)

    def answers() -> Handler:
        if where == "the look":
            fail()
        return answer

    with serving(answers) as port:
        for _ in range(3):
            assert page(port)[0] == 500
        fails[0] = False
        assert page(port)[0] == 200
    assert capsys.readouterr().err.count("\n") == 1


def test_the_port_is_given_back_and_the_clients_are_dropped() -> None:
    server = Server("127.0.0.1", 0, lambda: echo)
    server.start()
    with connected(server.port) as client:
        assert page(server.port)[0] == 200
        port = server.port
        server.close()
        assert said(client) == b""
    again = Server("127.0.0.1", port, lambda: echo)
    again.close()


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from(
                [b"GET / HTTP/1.1\r\n", b"Host: a\r\n", b"\r\n", b"A: b\r\n", b"\n", b"HEAD /x?y "]
            ),
        ),
        max_size=8,
    )
)
@settings(max_examples=150, deadline=None)
def test_no_bytes_disturb_it(served_for_all: int, pieces: list[bytes]) -> None:
    with connected(served_for_all) as client:
        with suppress(ConnectionError):
            client.sendall(b"".join(pieces))
            client.shutdown(socket.SHUT_WR)
        answer = said(client)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 4", b"HTTP/1.1 501 "))
    assert page(served_for_all) == (200, b"/a None")


@pytest.fixture(scope="module")
def served_for_all() -> Iterator[int]:
    with serving() as port:
        yield port
