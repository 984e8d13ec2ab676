"""Each host has one deadline for its whole answer, and none takes the time of another."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from autoscaler.adapters.http.answers import NoReply, Reply
from autoscaler.adapters.http.fetching import Page, fetch_all
from tests.adapters.hostile import FINE, Serve, drips, keeps_open, pours, says, server
from tests.lab.processes import free_ports

WITHIN = 0.6
PATIENCE = 10.0  # where an answer comes
LONG_BEFORE = 15.0  # one after the other takes half a minute, and what hangs never ends
LARGEST = 4_096
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"


def fetch(*pages: Page, **options: Any) -> list[tuple[int, bytes] | NoReply | None]:
    """Status and body of each answer."""
    said = fetch_all(pages, **{"within": WITHIN, "largest": LARGEST, **options})
    return [each[:2] if isinstance(each, Reply) else each for each in said]


@pytest.mark.parametrize(
    "serve",
    [
        pytest.param(says(FINE), id="it hangs up"),
        pytest.param(keeps_open(FINE), id="it keeps the connection open"),
        pytest.param(says(b"HTTP/1.0 200 OK\r\n\r\n{}"), id="the end of the connection is its end"),
        pytest.param(
            keeps_open(CHUNKED),
            id="in chunks",
        ),
    ],
)
def test_a_whole_answer_is_read_at_once(serve: Serve) -> None:
    with server(serve) as page:
        assert fetch(page, within=PATIENCE) == [(200, b"{}")]


def test_what_was_asked_is_a_plain_request_for_the_page() -> None:
    asked: list[bytes] = []

    def serve(client: socket.socket, _: threading.Event) -> None:
        asked.append(client.recv(65536))
        client.sendall(FINE)

    with server(serve) as page:
        fetch(page, within=PATIENCE)

    head = asked[0].decode().split("\r\n")
    assert head[0] == "GET /state HTTP/1.1"
    assert f"Host: 127.0.0.1:{page.port}" in head
    assert "Connection: close" in head


@pytest.mark.parametrize(
    ("serve", "why"),
    [
        pytest.param(
            lambda client, stop: stop.wait(), "did not give a complete response", id="silence"
        ),
        pytest.param(
            drips(b"HTTP/1.1 200 OK\r\nX: y\r\n"), "did not give a complete response", id="a head"
        ),
        pytest.param(drips(b" "), "did not give a complete HTTP response", id="blanks"),
        pytest.param(pours, "answered with more than 4 KiB", id="no end"),
        pytest.param(says(b""), "did not give a complete HTTP response", id="nothing"),
        pytest.param(says(b"hello"), "did not give a complete HTTP response", id="not HTTP"),
        pytest.param(
            says(FINE[:-1]), "did not give a complete HTTP response", id="a byte is missing"
        ),
        pytest.param(
            keeps_open(FINE[:-1]),
            "did not give a complete response within 0.6 s",
            id="and it stays open",
        ),
    ],
)
def test_what_is_no_whole_answer_in_time_says_why(serve: Serve, why: str) -> None:
    with server(serve) as page:
        began = time.monotonic()
        [said] = fetch(page)
        took = time.monotonic() - began

    assert isinstance(said, NoReply)
    assert why in said.reason
    assert took < LONG_BEFORE


def test_nobody_listens() -> None:
    (port,) = free_ports(1)

    assert fetch(Page("127.0.0.1", port, "/")) == [NoReply("refused the connection")]


@pytest.mark.parametrize("address", ["not an address", "", "1.2.3", "::zz"])
def test_what_is_no_address_is_no_answer(address: str) -> None:
    [said] = fetch(Page(address, 80, "/"))

    assert isinstance(said, NoReply)


def test_an_address_of_the_newer_kind() -> None:
    with server(says(FINE), "::1") as page:
        assert page.url == f"http://[::1]:{page.port}/state"
        assert fetch(page, within=PATIENCE) == [(200, b"{}")]


def test_many_that_hang_take_as_long_as_one_and_the_others_are_heard() -> None:
    def hangs(_: socket.socket, stop: threading.Event) -> None:
        stop.wait()

    with server(hangs) as hung, server(drips(b" ")) as slow, server(says(FINE)) as fine:
        began = time.monotonic()
        said = fetch(*[hung] * 25, fine, *[slow] * 25, fine, within=3.0)
        took = time.monotonic() - began

    assert said[25] == said[51] == (200, b"{}")
    assert sum(isinstance(each, NoReply) for each in said) == 50
    assert took < LONG_BEFORE


def test_more_than_may_be_open_at_once_come_one_after_the_other() -> None:
    with server(says(FINE)) as page:
        said = fetch(*[page] * 9, within=5.0, at_once=2)

    assert said == [(200, b"{}")] * 9


def test_a_crowd_that_hangs_takes_no_more_time_than_it_is_given() -> None:
    def hangs(_: socket.socket, stop: threading.Event) -> None:
        stop.wait()

    with server(hangs) as page:
        began = time.monotonic()
        said = fetch(*[page] * 2_000, at_once=2, in_all=WITHIN)
        took = time.monotonic() - began

    assert said.count(None) > 1_000, "they are not asked"
    assert took < LONG_BEFORE
