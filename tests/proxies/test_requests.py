"""What a request of a browser becomes on its way, and where no cookie can lead it."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.exporter.servers import wait_until
from tests.proxies.fleet import PORT
from tests.proxies.name_server import NameServer
from tests.proxies.programs import Proxy

pytestmark = pytest.mark.slow


class Echo(BaseHTTPRequestHandler):
    """Answers with the request's headers, and says by which address it was reached."""

    def do_GET(self) -> None:
        reached, _ = self.request.getsockname()
        body = json.dumps({**self.headers, "reached": reached}).encode()
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
        arrived: dict[str, str] = json.load(answer)
    return arrived, jar


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

    headers = {name.lower(): value for name, value in arrived.items()}
    assert headers["host"] == urlsplit(proxy.url).netloc
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers.get("x-forwarded-proto", "http") == "http"


def test_tls_that_ended_before_the_proxy_is_passed_on(proxy: Proxy, network: str) -> None:
    proxy.start([f"{network}.1", f"{network}.2"])

    arrived, jar = ask(proxy, X_Forwarded_Proto="https")

    headers = {name.lower(): value for name, value in arrived.items()}
    assert headers["x-forwarded-proto"] == "https"
    assert all(cookie["httponly"] and cookie["samesite"] == "Lax" for cookie in jar.values())
    if proxy.name == "nginx":  # HAProxy has a setting for it
        assert all(cookie["secure"] for cookie in jar.values())


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
