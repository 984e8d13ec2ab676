"""Servers of several workers behind a proxy: one session for each user, which reconnects find."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.exporter.handing import requests
from tests.lab.bokeh_servers import wait_until
from tests.lab.websocket_user import Users
from tests.proxies.browser import Browser
from tests.proxies.fleet import Fleet
from tests.proxies.programs import Proxy

pytestmark = pytest.mark.slow

USERS, CROWD, AT_ONCE = 16, 80, 40  # `python -m tests.benchmarks handoff` has a larger crowd


@pytest.fixture(scope="module")
def shared_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet"), count=2, workers=4) as fleet:
        yield fleet


@pytest.fixture
def servers(shared_servers: Fleet) -> Fleet:
    """Two servers of four workers each, without users."""
    shared_servers.await_connected([0, 0])
    return shared_servers


def test_each_user_has_one_session_in_one_worker(
    proxy: Proxy, servers: Fleet, users: Users
) -> None:
    proxy.start(servers.addresses)
    before = sum(servers.created())
    browsers = [Browser(users, proxy.url) for _ in range(USERS)]
    sockets = [browser.open() for browser in browsers]
    assert sum(servers.created()) == before + USERS
    assert sum(servers.connected()) == USERS
    for socket in sockets:
        users.leave(socket)
    servers.await_connected([0, 0])
    for browser in browsers:
        browser.connect()
    assert sum(servers.created()) == before + USERS
    assert servers.connected() == [USERS // 2, USERS // 2]


def test_a_crowd_has_one_session_each_and_reconnects_at_once(
    proxy: Proxy, servers: Fleet, users: Users
) -> None:
    proxy.start(servers.addresses[:1])
    before, _ = servers.created()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        browsers = [Browser(users, proxy.url) for _ in range(CROWD)]
        sockets = list(pool.map(Browser.open, browsers))
        servers.await_connected([CROWD, 0])
        assert servers.created()[0] == before + CROWD
        for socket in sockets:
            users.leave(socket)
        servers.await_connected([0, 0])
        list(pool.map(Browser.connect, browsers))
        servers.await_connected([CROWD, 0])
        assert servers.created()[0] == before + CROWD
        wait_until(lambda: requests(servers.servers[0]) == 0, "no request")
