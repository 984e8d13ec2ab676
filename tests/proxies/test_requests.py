"""What a request of a browser becomes on its way, and where no cookie can lead it."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.lab.bokeh_servers import wait_until
from tests.proxies.fleet import PORT
from tests.proxies.name_server import NameServer
from tests.proxies.programs import TRUSTING, Proxy

pytestmark = pytest.mark.slow


class Echo(BaseHTTPRequestHandler):
    """Answers with the request's headers, and says by which address it was reached."""

    def do_GET(self) -> None:
        reached, _ = self.request.getsockname()
        names = {name.lower() for name in self.headers}
        said = {name: self.headers.get_all(name) for name in names} | {"reached": [reached]}
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def listening(address: str) -> Iterator[None]:
    with ThreadingHTTPServer((address, PORT), Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield
        server.shutdown()


@pytest.fixture
def network() -> Iterator[str]:
    """Two servers of the app, .1 and .2, and one that is none of it, .9."""
    found = f"127.{secrets.randbelow(254) + 1}.{secrets.randbelow(256)}"
    with ExitStack() as stack:
        for number in (1, 2, 9):
            stack.enter_context(listening(f"{found}.{number}"))
        yield found


def ask(proxy: Proxy, **headers: str) -> tuple[dict[str, str], SimpleCookie]:
    """The headers that arrived, and the cookies that came back."""
    request = Request(proxy.url, headers={k.replace("_", "-"): v for k, v in headers.items()})
    with urlopen(request, timeout=20) as answer:
        jar = SimpleCookie()
        for line in answer.headers.get_all("Set-Cookie", []):
            jar.load(line)
        return headers_in(answer.read()), jar


def headers_in(body: bytes) -> dict[str, str]:
    """What an Echo has answered, by lower-case name; lines of one name are one."""
    return {name: ", ".join(values) for name, values in json.loads(body).items()}


def serves(proxy: Proxy) -> bool:
    try:
        ask(proxy)
    except HTTPError as error:
        error.close()
        return False
    return True


def test_servers_learn_what_the_browser_asked_for_and_who_it_is(proxy: Proxy, network: str) -> None:
    proxy.start([f"{network}.1", f"{network}.2"])

    arrived, _ = ask(proxy)

    assert arrived["host"] == urlsplit(proxy.url).netloc
    assert {name: arrived.get(name) for name in SAID} == OURS


# What a browser has no business to say, and a proxy may.
SAID = {
    "x-forwarded-for": "192.0.2.1, 192.0.2.7",
    "x-real-ip": "192.0.2.9",
    "x-forwarded-proto": "https",
    "x-scheme": "https",
    "x-forwarded-host": "evil.example",
    "x-forwarded-port": "443",
    "x-forwarded-prefix": "/evil",
    "forwarded": "for=192.0.2.9;proto=https",
}
OURS = dict.fromkeys(SAID) | {
    "x-forwarded-for": "127.0.0.1",
    "x-real-ip": "127.0.0.1",
    "x-forwarded-proto": "http",
}


def test_what_a_browser_says_of_itself_is_overwritten(proxy: Proxy, network: str) -> None:
    proxy.start([f"{network}.1", f"{network}.2"])

    arrived, jar = ask(proxy, **SAID)

    assert {name: arrived.get(name) for name in SAID} == OURS
    assert jar
    assert not any(cookie["secure"] for cookie in jar.values())


def test_a_proxy_that_is_trusted_says_who_comes_and_that_tls_ended_there(
    proxy: Proxy, network: str
) -> None:
    proxy.start([f"{network}.1", f"{network}.2"], TRUSTING)

    arrived, jar = ask(proxy, **SAID)

    assert {name: arrived.get(name) for name in SAID} == OURS | {
        "x-forwarded-for": "192.0.2.1, 192.0.2.7, 127.0.0.1",
        "x-real-ip": "192.0.2.7",
        "x-forwarded-proto": "https",
    }
    assert jar
    for cookie in jar.values():
        assert cookie["secure"]
        assert cookie["httponly"]
        assert cookie["samesite"] == "Lax"


@pytest.mark.parametrize("value", ["", "javascript", "HTTPS, http"])
def test_a_trusted_proxy_that_names_no_scheme_is_heard_on_nothing(
    proxy: Proxy, network: str, value: str
) -> None:
    proxy.start([f"{network}.1", f"{network}.2"], TRUSTING)

    arrived, jar = ask(proxy, **{"x-forwarded-proto": value})

    assert arrived["x-forwarded-proto"] == "http"
    assert arrived["x-real-ip"] == "127.0.0.1"
    assert not any(cookie["secure"] for cookie in jar.values())


@pytest.mark.parametrize(
    ("asked", "arrives"),
    [
        ("websocket", "websocket"),
        ("WebSocket", "websocket"),
        ("h2c", None),
        ("TLS/1.0", None),
        ("h2c, websocket", None),
        ("websocketish", None),
    ],
)
def test_only_a_websocket_takes_a_connection_over(
    proxy: Proxy, network: str, asked: str, arrives: str | None
) -> None:
    """Otherwise whatever follows would be out of the proxy's sight (h2c smuggling)."""
    proxy.start([f"{network}.1", f"{network}.2"])
    more = {"HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA", "Sec-WebSocket-Version": "13"}

    arrived = upgrade(proxy, asked, more)

    assert arrived.get("upgrade") == arrives
    assert (arrived.get("connection", "").lower() == "upgrade") == (arrives is not None)


def upgrade(proxy: Proxy, protocol: str, more: dict[str, str]) -> dict[str, str]:
    """The headers that arrive of a request for another protocol; the server stays with HTTP."""
    client = HTTPConnection("127.0.0.1", proxy.port, timeout=20)
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    client.request(
        "GET", "/app", headers={"Connection": "Upgrade", "Upgrade": protocol, **key, **more}
    )
    try:
        return headers_in(client.getresponse().read())
    finally:
        client.close()


FORGED = (
    "{network}.9:5006",
    "127.0.0.1:{port}",
    "example.org",
    "unix:/run/admin.sock",
    "../9",
    "|",
)


@pytest.mark.parametrize("where", ["list", "DNS"])
def test_a_forged_cookie_leads_to_no_server_but_the_apps(
    proxy: Proxy, network: str, name_server: NameServer, where: str
) -> None:
    pods = [f"{network}.1", f"{network}.2"]
    if where == "list":
        proxy.start(pods)
    else:
        name_server.start(pods, pods)
        proxy.follow(name_server.resolv_conf)
    wait_until(lambda: serves(proxy), "the proxy to know its servers")

    for forged in FORGED:
        name = forged.format(network=network, port=proxy.second_port)
        arrived, jar = ask(proxy, Cookie=f"sticky_pod={name}; sticky_fresh=1")

        assert arrived["reached"] in pods
        assert jar["sticky_pod"].value != name
