"""A user who does nothing stays connected: how long proxies wait, and that Bokeh's pings count.

What they wait is cut down to two seconds here, and Bokeh's 37 s between two pings to half a one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from bokeh.server.tornado import DEFAULT_KEEP_ALIVE_MS

from tests.lab.websocket_user import Users
from tests.proxies.browser import Browser
from tests.proxies.fleet import Fleet
from tests.proxies.programs import DEPLOY, Changes, Proxy

pytestmark = [pytest.mark.slow, pytest.mark.timing_sensitive]

QUIET = 4.0  # seconds; twice what the shortened proxies wait
LONGEST_CALLBACK = 20 * 60.0  # seconds in which a blocked server sends no ping
SECONDS = {"s": 1, "m": 60, "h": 3600}
# For as long as a WebSocket is open; HAProxy's other two are for requests.
WAIT = {
    "nginx": ("proxy_read_timeout 1h", "proxy_send_timeout 1h"),
    "haproxy": ("timeout tunnel 1h",),
}
REQUESTS = {"timeout client 60s": "timeout client 2s", "timeout server 5m": "timeout server 2s"}


def shortened(proxy: Proxy) -> Changes:
    requests = REQUESTS if proxy.name == "haproxy" else {}
    return {**requests, **{each: each.replace("1h", "2s") for each in WAIT[proxy.name]}}


@pytest.fixture(scope="module")
def pinging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("pinging"), "--keep-alive", "500", count=1) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Its first ping comes after 37 s."""
    with Fleet(tmp_path_factory.mktemp("silent"), count=1) as fleet:
        yield fleet


@pytest.mark.parametrize("name", WAIT)
def test_the_proxies_wait_for_longer_than_a_server_may_be_silent(name: str) -> None:
    text = "\n".join(file.read_text() for file in (DEPLOY / name).iterdir())
    for setting in WAIT[name]:
        [(number, unit)] = re.findall(rf"^ *{setting[:-2]}(\d+)([smh])\b", text, re.MULTILINE)
        waits = int(number) * SECONDS[unit]

        assert waits > DEFAULT_KEEP_ALIVE_MS / 1000 + LONGEST_CALLBACK


def test_a_quiet_user_stays_because_bokeh_pings(proxy: Proxy, pinging: Fleet, users: Users) -> None:
    proxy.start(pinging.addresses, shortened(proxy))
    user = Browser(users, proxy.url).open()

    assert users.stays(user, QUIET)


def test_without_a_ping_in_time_the_same_user_is_cut_off(
    proxy: Proxy, silent: Fleet, users: Users
) -> None:
    proxy.start(silent.addresses, shortened(proxy))
    user = Browser(users, proxy.url).open()

    assert not users.stays(user, 20)


def test_what_haproxy_waits_for_requests_does_not_count_for_websockets(
    proxy: Proxy, silent: Fleet, users: Users
) -> None:
    proxy.start(silent.addresses, REQUESTS if proxy.name == "haproxy" else {})
    user = Browser(users, proxy.url).open()

    assert users.stays(user, QUIET)


def test_a_page_may_take_its_time(proxy: Proxy, silent: Fleet, users: Users) -> None:
    """Nobody retries it on another server meanwhile, which would build it twice."""
    before = sum(silent.created())
    proxy.start(silent.addresses)

    users.get(proxy.url, busy="2")

    assert sum(silent.created()) == before + 1
