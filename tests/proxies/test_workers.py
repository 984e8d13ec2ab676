"""Servers of several workers behind a proxy: one session for each user, which reconnects find."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.exporter import agent_socket
from tests.lab.websocket_user import Users
from tests.proxies.browser import Browser
from tests.proxies.fleet import Fleet
from tests.proxies.programs import Proxy

pytestmark = pytest.mark.slow

USERS, CROWD, AT_ONCE = 16, 200, 50


def test_each_user_has_one_session_in_one_worker(
    proxy: Proxy, tmp_path: Path, users: Users
) -> None:
    with Fleet(tmp_path, count=2, workers=4) as fleet:
        proxy.start(fleet.addresses)
        browsers = [Browser(users, proxy.url) for _ in range(USERS)]
        sockets = [browser.open() for browser in browsers]
        assert sum(fleet.created()) == sum(fleet.connected()) == USERS
        for socket in sockets:
            users.leave(socket)
        fleet.await_connected([0, 0])
        for browser in browsers:
            browser.connect()
        assert sum(fleet.created()) == sum(fleet.connected()) == USERS
        assert fleet.connected() == [USERS // 2, USERS // 2]


def test_a_crowd_has_one_session_each_and_reconnects_at_once(
    proxy: Proxy, tmp_path: Path, users: Users
) -> None:
    with Fleet(tmp_path, count=1, workers=4) as fleet, ThreadPoolExecutor(AT_ONCE) as pool:
        proxy.start(fleet.addresses)
        browsers = [Browser(users, proxy.url) for _ in range(CROWD)]
        sockets = list(pool.map(Browser.open, browsers))
        fleet.await_connected([CROWD])
        assert fleet.created() == [CROWD]
        for socket in sockets:
            users.leave(socket)
        fleet.await_connected([0])
        list(pool.map(Browser.connect, browsers))
        fleet.await_connected([CROWD])
        assert fleet.created() == [CROWD]
        assert all(report["requests"] == 0 for report in agent_socket.reports(fleet.servers[0]))
