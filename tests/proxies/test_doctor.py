"""`autoscaler doctor URL` before real Bokeh servers: silent behind our proxies, and what it finds.

Each broken proxy is a configuration of nginx that people write.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoscaler.adapters.visitor import Visit, visit
from autoscaler.doctor.examine import examine
from autoscaler.doctor.facts import Facts
from tests.lab.bokeh_servers import listens, wait_until
from tests.lab.processes import Processes, free_ports
from tests.proxies.fleet import PORT, Fleet
from tests.proxies.programs import Proxy

pytestmark = pytest.mark.slow

UPGRADE = """
proxy_http_version 1.1;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $connection_upgrade;
"""
HOST = "proxy_set_header Host $http_host;\n"
LARGE = "large_client_header_buffers 4 64k;\n"
ALL = UPGRADE + HOST + LARGE
BY_ADDRESS = "ip_hash;"
# What is wrong: how nginx chooses the server, how it passes requests on, what is found.
BROKEN = {
    "neither sticky nor by address": ("", ALL, "session-not-found-again"),
    "without the headers of an upgrade": (BY_ADDRESS, HOST + LARGE, "websocket-not-passed-on"),
    "with the host of the server": (BY_ADDRESS, UPGRADE + LARGE, "websocket-origin-refused"),
    "with nginx's own limit of headers": (BY_ADDRESS, UPGRADE + HOST, "header-limit"),
    "with the page alone": (
        BY_ADDRESS,
        f"{ALL}location /static/ {{ return 404; }}",
        "script-missing",
    ),
    "with a page of its own for each script": (
        BY_ADDRESS,
        f"{ALL}location /static/ {{ default_type text/html; return 200 '<p>'; }}",
        "script-missing",
    ),
    "with one page for all users": (
        BY_ADDRESS,
        f"""{ALL} proxy_cache pages; proxy_cache_valid 200 1m;
        proxy_ignore_headers Cache-Control Expires Set-Cookie;""",
        "page-shared",
    ),
    "with a path that is not passed on": (
        BY_ADDRESS,
        f"{ALL}location ~ /ws$ {{ return 404; }}",
        "websocket-not-passed-on",
    ),
    "without the header that has the token": (
        BY_ADDRESS,
        f'{ALL}proxy_set_header Sec-WebSocket-Protocol "";',
        "websocket-closed",
    ),
    "with a timeout below the ping": (BY_ADDRESS, f"{ALL}proxy_read_timeout 2s;", "idle-timeout"),
}


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two servers with the options of the example."""
    options = ("--session-token-expiration", "86400")
    with Fleet(tmp_path_factory.mktemp("pods"), *options, count=2) as fleet:
        yield fleet


def look(url: str, wait: float = 0.0) -> Visit:
    return visit(url, {}, wait, lambda _: None)


def found(seen: Visit) -> list[str]:
    return [each.id for each in examine([Facts(visit=seen)])]


def nginx(folder: Path, processes: Processes, pods: Fleet, choice: str, passing: str) -> str:
    """A proxy of somebody else; the address of the app through it."""
    [port] = free_ports(1)
    servers = "".join(f"server {each}:{PORT};\n" for each in pods.addresses)
    file = folder / "nginx.conf"
    file.write_text(f"""
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
pid {folder}/nginx.pid;
events {{}}
http {{
access_log off;
client_body_temp_path {folder}/body;
proxy_temp_path {folder}/proxy;
fastcgi_temp_path {folder}/fastcgi;
uwsgi_temp_path {folder}/uwsgi;
scgi_temp_path {folder}/scgi;
proxy_cache_path {folder}/cache keys_zone=pages:1m;
map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
upstream bokeh {{ {choice} {servers} }}
server {{ listen 127.0.0.1:{port}; {passing} location / {{ proxy_pass http://bokeh; }} }}
}}
""")
    processes.start("nginx", ["nginx", "-e", "stderr", "-c", file])
    wait_until(lambda: listens(port), "nginx to listen")
    return f"http://127.0.0.1:{port}/app"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    if shutil.which("nginx") is None:
        pytest.skip("NO NGINX: `apt-get install nginx` or `make parts` gets it")
    with Processes(tmp_path) as processes:
        yield processes


def test_nothing_is_found_behind_our_proxies(proxy: Proxy, pods: Fleet) -> None:
    proxy.start(pods.addresses)

    seen = look(proxy.url)

    assert found(seen) == []
    assert seen.tries > 0
    assert seen.cookies


def test_nothing_is_found_at_the_server_itself(pods: Fleet) -> None:
    assert found(look(pods.servers[0].url)) == []


@pytest.mark.parametrize("case", BROKEN)
def test_what_a_proxy_breaks_is_found(
    case: str, tmp_path: Path, processes: Processes, pods: Fleet
) -> None:
    choice, passing, wanted = BROKEN[case]
    url = nginx(tmp_path, processes, pods, choice, passing)

    seen = look(url, 5.0 if wanted == "idle-timeout" else 0.0)

    assert found(seen) == [wanted]


# By what answers a request for the WebSocket: what the fix says.
ANSWERS = {
    "without the headers of an upgrade": (HOST + LARGE, "proxy_set_header Upgrade"),
    "a limit of requests": (f"{ALL}location ~ /ws$ {{ return 429; }}", "curl -i"),
    "a page": (f"{ALL}location ~ /ws$ {{ return 200; }}", "proxy_set_header Upgrade"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_the_fix_of_a_web_socket_is_that_of_the_answer(
    case: str, tmp_path: Path, processes: Processes, pods: Fleet
) -> None:
    passing, fix = ANSWERS[case]

    [said] = examine([Facts(visit=look(nginx(tmp_path, processes, pods, BY_ADDRESS, passing)))])

    assert said.id == "websocket-not-passed-on"
    assert said.fix.splitlines()[-1].startswith(fix) or fix in said.fix


def test_the_ping_that_is_told_is_shorter_than_the_timeout(
    tmp_path: Path, processes: Processes, pods: Fleet
) -> None:
    passing = f"{ALL}proxy_read_timeout 2s;"
    url = nginx(tmp_path, processes, pods, BY_ADDRESS, passing)

    [said] = examine([Facts(visit=look(url, 5.0))])

    [ping] = re.findall(r"--keep-alive=(\d+)", said.fix)
    assert int(ping) < 2000


def test_a_page_without_a_server_and_one_that_is_not_there(pods: Fleet) -> None:
    [port] = free_ports(1)

    assert found(look(f"http://127.0.0.1:{port}/app")) == ["page-does-not-open"]
    assert found(look(f"{pods.servers[0].url}/nowhere")) == ["not-a-bokeh-page"]


def test_nothing_is_found_behind_a_proxy_that_goes_by_address(
    tmp_path: Path, processes: Processes, pods: Fleet
) -> None:
    seen = look(nginx(tmp_path, processes, pods, BY_ADDRESS, ALL), 5.0)

    assert found(seen) == []
    assert seen.watched >= 5.0


def test_a_token_of_five_minutes_is_found(fleet: Fleet) -> None:
    assert found(look(fleet.servers[0].url)) == ["token-expires-early"]
