"""The pages of nginx and HAProxy, followed word by word on a machine of their own."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.pages import PROXY_PAGES, blocks, mentioned
from tests.lab.bokeh_servers import BIN, end, wait_until
from tests.lab.bokeh_servers import listens as is_open
from tests.lab.namespaces import own_network
from tests.lab.websocket_user import Users
from tests.proxies.browser import Browser
from tests.proxies.fleet import PORT, Fleet
from tests.proxies.machine import SERVICE, Machine, own_machine, why_not

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

NGINX, HAPROXY = PROXY_PAGES
ROOT = NGINX.parents[2]
ADDRESSES = ["10.0.0.11", "10.0.0.12", "10.0.0.13"]  # those of the shipped files
SIDECAR_PORT = 9550  # by default
HTTP, HTTPS = "http://localhost/app", "https://localhost/app"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Bokeh at the addresses that the shipped files name, the first with its sidecar's port."""
    if reason := why_not():
        pytest.skip(f"NO MACHINE OF ITS OWN for nginx and HAProxy: {reason}")
    folder = tmp_path_factory.mktemp("servers")
    with own_network(*ADDRESSES), Fleet(folder, addresses=ADDRESSES) as fleet:
        first = ADDRESSES[0]
        words = [f"--instance=test-{first}-{PORT}", f"--app-port={PORT}", f"--address={first}"]
        sidecar = subprocess.Popen([BIN / "bokeh-exporter", "sidecar", *words])
        wait_until(lambda: is_open(SIDECAR_PORT, first), "the sidecar's port")
        yield fleet
        end(sidecar)


@pytest.fixture
def machine(servers: Fleet, tmp_path: Path) -> Iterator[Machine]:
    servers.await_connected([0, 0, 0])
    with own_machine(tmp_path) as machine:
        yield machine


def install_nginx(machine: Machine) -> str:
    """As the page says, up to its last line, which is given."""
    copy, check = blocks(NGINX, "sh")
    settings, _tls = blocks(NGINX, "nginx")
    first, events = settings.split("\n", 1)
    machine.run(copy, ROOT)
    main = machine.file("/etc/nginx/nginx.conf")
    text = main.read_text()
    old = text[text.index("events {") : text.index("}") + 1]
    main.write_text(f"{first}\n{text.replace(old, events)}")
    return check


def install_haproxy(machine: Machine) -> None:
    copy, check, *_ = blocks(HAPROXY, "sh")
    machine.run(copy, ROOT)
    said = machine.run(check, ROOT)

    assert said.strip() in ("Configuration file is valid", ""), "what newer versions say"
    settings = machine.file("/etc/default/haproxy")
    [key] = re.findall(r"^COOKIE_KEY=(.*)$", settings.read_text(), re.MULTILINE)
    assert len(key) == 64
    assert settings.stat().st_mode & 0o777 == 0o600


def start_haproxy(machine: Machine) -> None:
    """By the words of its service, checked by those of its reload."""
    unit = SERVICE.read_text()
    variables = re.findall(r'"(\w+=[^"]*)"', unit)
    assert "EnvironmentFile=-/etc/default/haproxy\n" in unit
    [start] = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    [check] = re.findall(r"^ExecReload=(.* -c .*)$", unit, re.MULTILINE)
    settings = "".join(f"export '{each}'\n" for each in variables)
    settings += "set -a\n. /etc/default/haproxy\n"
    machine.run(f"{settings}{check}\n{start} &", ROOT)


def listens(users: Users, url: str) -> Browser:
    """A browser that has loaded the page; waits until somebody listens."""

    def load() -> Browser | None:
        browser = Browser(users, url)
        try:
            browser.load()
        except OSError:
            return None
        return browser

    browser: Browser = wait_until(load, f"{url} to answer")
    return browser


def certificate(machine: Machine) -> Path:
    """For localhost, where the pages say that it lies. Those who trust it take this file."""
    crt, key = machine.file("/etc/nginx/page.crt"), machine.file("/etc/nginx/page.key")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    words = ["-x509", "-newkey", "rsa:2048", "-noenc", "-days", "1", *subject]
    subprocess.run(
        ["openssl", "req", *words, "-out", crt, "-keyout", key], check=True, capture_output=True
    )
    machine.file("/etc/haproxy/page.pem").write_text(crt.read_text() + key.read_text())
    return crt


def test_nginx_serves_beside_the_files_of_the_distribution_and_a_reload_ends_nothing(
    machine: Machine, servers: Fleet, users: Users
) -> None:
    reload = install_nginx(machine)
    machine.run("nginx", ROOT)
    user = listens(users, HTTP).connect()

    assert "[warn]" not in machine.run(reload, ROOT)

    users.ask(user)
    Browser(users, HTTP).open()
    assert sum(servers.connected()) == 2


def test_a_server_is_taken_out_of_nginx_and_put_back(
    machine: Machine, servers: Fleet, users: Users
) -> None:
    reload = install_nginx(machine)
    machine.run("nginx", ROOT)
    list_of_servers = machine.file("/etc/nginx/conf.d/bokeh.conf")
    shipped = list_of_servers.read_text()
    listens(users, HTTP)

    list_of_servers.write_text(shipped.replace(f"    server {ADDRESSES[0]}:{PORT};\n", ""))
    machine.run(reload, ROOT)
    wait_until(lambda: newcomers(servers, users)[0] == 0, "new users to go elsewhere")
    assert nobody_is_connected(machine, NGINX)

    list_of_servers.write_text(shipped)
    machine.run(reload, ROOT)
    wait_until(lambda: newcomers(servers, users)[0] > 0, "new users to come back")


def test_haproxy_serves_by_its_service_and_takes_a_server_out_and_in(
    machine: Machine, servers: Fleet, users: Users
) -> None:
    *_, drain, ready = blocks(HAPROXY, "sh")
    install_haproxy(machine)
    start_haproxy(machine)
    listens(users, HTTP)

    machine.run(drain, ROOT)
    assert newcomers(servers, users)[0] == 0
    assert nobody_is_connected(machine, HAPROXY)

    machine.run(ready, ROOT)
    assert newcomers(servers, users)[0] > 0


def test_nginx_ends_tls_as_the_page_says(machine: Machine, servers: Fleet) -> None:
    reload = install_nginx(machine)
    trusted = certificate(machine)
    _settings, tls = blocks(NGINX, "nginx")
    sites = machine.file("/etc/nginx/conf.d/bokeh.conf")
    sites.write_text(replaced(sites.read_text(), "listen 80;", tls))
    machine.run("nginx", ROOT)
    machine.run(reload, ROOT)

    assert_safe(trusted, servers, {"sticky_pod", "sticky_fresh"})


def test_haproxy_ends_tls_as_the_page_says(machine: Machine, servers: Fleet) -> None:
    trusted = certificate(machine)
    install_haproxy(machine)
    [tls] = blocks(HAPROXY, "haproxy")
    main = machine.file("/etc/haproxy/bokeh/haproxy.cfg")
    for line in tls.splitlines():
        [old] = re.findall(rf"^    {line.split()[0]} .*$", main.read_text(), re.MULTILINE)
        main.write_text(replaced(main.read_text(), old, f"    {line}"))
    start_haproxy(machine)

    assert_safe(trusted, servers, {"sticky_pod"})


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


def newcomers(servers: Fleet, users: Users) -> list[int]:
    """To which servers six new browsers are led; they are gone afterwards."""
    there = [Browser(users, HTTP).open() for _ in range(6)]
    led_to = servers.connected()
    for each in there:
        users.leave(each)
    servers.await_connected([0, 0, 0])
    return led_to


def nobody_is_connected(machine: Machine, page: Path) -> bool:
    """By the word of the page's curl."""
    [question] = (each for each in mentioned(page) if each.startswith("curl"))
    state = json.loads(machine.run(f"{question} 2>/dev/null", ROOT))
    return bool(state["sessions"]["connected"] == 0)


def assert_safe(trusted: Path, servers: Fleet, cookies: set[str]) -> None:
    """A browser gets the page and its WebSocket by TLS, and no cookie that goes without."""
    with Users(trusted=str(trusted)) as users:
        browser = listens(users, HTTPS)
        users.ask(browser.connect())

        assert sum(servers.connected()) == 1
        assert {name for name, cookie in browser.jar.items() if cookie["secure"]} == cookies
        assert browser.jar.keys() == cookies
