"""A server that refuses new sessions is passed over at once, and nothing is asked twice in vain.

The servers here are plain ones that say what a leaving Bokeh server says; test_terminating.py has
real ones.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.proxies.fleet import PORT
from tests.proxies.programs import Proxy

pytestmark = pytest.mark.slow

AT_ONCE = 4.0  # seconds; less than the shortest timeout of the proxies, which is 5 s
REFUSAL = {
    "Connection": "close",
    "Retry-After": "1",
    "Set-Cookie": "sticky_pod=; Max-Age=0; Path=/",
}
MUTE = 0  # in place of a status: the connection is closed without an answer


class Scripted(ThreadingHTTPServer):
    """Answers every request with one status. asked: the methods of all requests so far."""

    def __init__(self, address: str) -> None:
        self.status, self.headers = 200, dict[str, str]()
        self.asked: list[str] = []
        super().__init__((address, PORT), Answer)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def refuse(self) -> None:
        """From now on as a Bokeh server does that is told to go."""
        self.status, self.headers = 503, REFUSAL

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept, as Bokeh keeps them
    server: Scripted

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.server.asked.append(self.command)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.status == MUTE:
            self.close_connection = True
            return
        body = str(self.request.getsockname()[0]).encode()
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@dataclass
class Answered:
    """What a browser got. body: the address of the server, where that wrote it."""

    status: int
    body: str
    headers: Any
    seconds: float
    cookies: SimpleCookie = field(default_factory=SimpleCookie)


@dataclass
class Client:
    """A browser that keeps its cookies."""

    url: str
    jar: SimpleCookie = field(default_factory=SimpleCookie)

    def ask(self, data: bytes | None = None) -> Answered:
        """GET the page, or POST what is given."""
        cookie = "; ".join(f"{each.key}={each.coded_value}" for each in self.jar.values())
        request = Request(self.url, data, {"Cookie": cookie} if cookie else {})
        began = time.monotonic()
        try:
            answer = urlopen(request, timeout=60)
        except HTTPError as error:
            answer = error
        with answer:
            body = answer.read().decode()
        told = Answered(answer.status, body, answer.headers, time.monotonic() - began)
        for line in answer.headers.get_all("Set-Cookie", []):
            told.cookies.load(line)
        self.jar.update(told.cookies)
        return told


@dataclass
class Pair:
    """Two servers behind a proxy."""

    servers: list[Scripted]
    proxy: Proxy

    def client_of(self, number: int) -> Client:
        """A browser whose cookie names one of the servers."""
        for _ in range(10):
            client = Client(self.proxy.url)
            if client.ask().body == self.servers[number].server_address[0]:
                self.forget()
                return client
        raise AssertionError(f"no page came from server {number}")

    def forget(self) -> None:
        """The requests until now are not counted."""
        for server in self.servers:
            server.asked.clear()


@pytest.fixture
def pair(proxy: Proxy) -> Iterator[Pair]:
    network = f"127.{secrets.randbelow(254) + 1}.{secrets.randbelow(256)}"
    with ExitStack() as stack:
        servers = [Scripted(f"{network}.{number}") for number in (1, 2)]
        for server in servers:
            stack.callback(server.close)
        proxy.start([str(server.server_address[0]) for server in servers])
        yield Pair(servers, proxy)


def test_new_users_never_see_that_one_of_the_servers_refuses(pair: Pair) -> None:
    going, staying = pair.servers
    Client(pair.proxy.url).ask()  # and its connection is kept
    Client(pair.proxy.url).ask()
    going.refuse()

    answers = [Client(pair.proxy.url).ask() for _ in range(12)]

    assert {each.status for each in answers} == {200}
    assert {each.body for each in answers} == {staying.server_address[0]}
    assert max(each.seconds for each in answers) < AT_ONCE


def test_a_page_whose_cookie_names_a_refusing_server_comes_from_another_and_stays_there(
    pair: Pair,
) -> None:
    client = pair.client_of(0)
    pair.servers[0].refuse()

    first = client.ask()
    pair.forget()
    second = client.ask()

    assert (first.status, first.body) == (200, pair.servers[1].server_address[0])
    assert first.seconds < AT_ONCE
    assert (second.status, second.body) == (200, first.body)
    assert pair.servers[0].asked == [], "its cookie names the other one now"


def test_where_every_server_refuses_the_user_is_told_to_come_again_without_the_cookie(
    pair: Pair,
) -> None:
    client = pair.client_of(0)
    for server in pair.servers:
        server.refuse()

    told = client.ask()

    assert told.status == 503
    assert told.headers["Retry-After"] == "1"
    assert told.cookies["sticky_pod"].value == ""
    assert told.cookies["sticky_pod"]["max-age"] == "0"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_what_changes_something_is_asked_once_whatever_the_answer(pair: Pair, status: int) -> None:
    client = pair.client_of(0)
    pair.servers[0].status = status

    told = client.ask(b"order")

    by_nginx = {504: 502}.get(status, status)  # which tells nobody of an answer that it took
    assert told.status == (by_nginx if pair.proxy.name == "nginx" else status)
    assert [server.asked for server in pair.servers] == [["POST"], []]


def test_an_answer_503_to_what_changes_something_is_the_apps_own(pair: Pair) -> None:
    client = pair.client_of(0)
    pair.servers[0].status = 503

    assert client.ask(b"order").body == pair.servers[0].server_address[0]


def test_a_server_that_ends_without_an_answer_is_passed_over_by_pages(pair: Pair) -> None:
    client = pair.client_of(0)
    pair.servers[0].status = MUTE

    told = client.ask()

    assert (told.status, told.body) == (200, pair.servers[1].server_address[0])


def test_a_server_that_ends_without_an_answer_may_have_heard_a_change(pair: Pair) -> None:
    client = pair.client_of(0)
    pair.servers[0].status = MUTE

    told = client.ask(b"order")

    assert told.status == 502
    assert pair.servers[1].asked == []


def test_a_change_goes_to_another_server_if_its_own_is_gone(pair: Pair) -> None:
    client = pair.client_of(0)
    pair.servers[0].close()

    told = client.ask(b"order")

    assert (told.status, told.body) == (200, pair.servers[1].server_address[0])


def test_an_error_of_the_app_is_shown_and_not_asked_for_again(pair: Pair) -> None:
    client = pair.client_of(0)
    pair.servers[0].status = 500

    told = client.ask()

    assert (told.status, told.body) == (500, pair.servers[0].server_address[0])
    assert [server.asked for server in pair.servers] == [["GET"], []]
