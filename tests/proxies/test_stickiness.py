"""Users of nginx and HAProxy get to their sessions, and to no others."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.websocket_user import Users
from tests.proxies.browser import Browser
from tests.proxies.fleet import Fleet
from tests.proxies.programs import Proxy

pytestmark = pytest.mark.slow


def difference(after: list[int], before: list[int]) -> list[int]:
    return [a - b for a, b in zip(after, before, strict=True)]


def test_each_user_costs_one_session_and_all_servers_have_as_many(
    proxy: Proxy, fleet: Fleet, users: Users
) -> None:
    before = fleet.created()
    proxy.start(fleet.addresses)

    for _ in range(12):
        Browser(users, proxy.url).open()

    assert difference(fleet.created(), before) == [4, 4, 4]
    assert fleet.connected() == [4, 4, 4]


def test_without_cookies_users_cost_more_sessions_and_nothing_else_looks_wrong(
    proxy: Proxy, fleet: Fleet, users: Users
) -> None:
    """So the sessions above were counted by something that can tell."""
    before = fleet.created()
    proxy.start(fleet.addresses)

    for _ in range(6):
        users.join(proxy.url)

    assert sum(fleet.connected()) == 6
    assert sum(difference(fleet.created(), before)) > 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "TERM"])
def test_the_users_of_the_command_line_are_users_with_cookies(
    proxy: Proxy, fleet: Fleet, number: signal.Signals
) -> None:
    before = fleet.created()
    proxy.start(fleet.addresses)
    program = Path(sys.executable).with_name("autoscaler")
    words = (program, "users", proxy.url, "6", "--every", "0.1s", "--for", "60s")

    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        fleet.await_connected([2, 2, 2])
        assert difference(fleet.created(), before) == [2, 2, 2]
        process.send_signal(number)
        said, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert said.splitlines()[-1] == "6 users have left; 0 were refused, 0 cut off"
    fleet.await_connected([0, 0, 0])


def test_users_of_an_address_without_an_app_are_refused_in_one_line(
    proxy: Proxy, fleet: Fleet
) -> None:
    proxy.start(fleet.addresses)
    program = Path(sys.executable).with_name("autoscaler")
    url = proxy.url.removesuffix("/app") + "/nowhere"

    done = subprocess.run(
        (program, "users", url, "3"), capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"autoscaler users: {url} opens no session (HTTP 404: Not Found); name a page that "
        "`bokeh serve` serves\n"
    )


@pytest.mark.parametrize("hours", [0, 5], ids=["at once", "after hours"])
def test_a_page_that_reconnects_finds_its_session(
    proxy: Proxy, fleet: Fleet, users: Users, hours: float
) -> None:
    proxy.start(fleet.addresses)
    browsers = [Browser(users, proxy.url) for _ in range(3)]
    sockets = [each.open() for each in browsers]
    built, there = fleet.created(), fleet.connected()
    for browser, socket in zip(browsers, sockets, strict=True):
        users.leave(socket)
        browser.age(hours * 3600)

    for browser in reversed(browsers):  # in the same order a proxy could be right by chance
        browser.connect()

    assert fleet.created() == built
    assert fleet.connected() == there == [1, 1, 1]


def test_pages_follow_the_cookie_for_five_minutes_however_often_they_are_loaded(
    proxy: Proxy, fleet: Fleet, users: Users
) -> None:
    proxy.start(fleet.addresses)
    browser = Browser(users, proxy.url)
    before = fleet.created()

    for _ in range(3):
        browser.load()
        browser.age(200)
        browser.load()
        browser.age(200)

    assert difference(fleet.created(), before) == [2, 2, 2]


def test_a_page_with_large_cookies_gets_its_socket(
    proxy: Proxy, fleet: Fleet, users: Users
) -> None:
    """Its token, which holds them, comes in one header beside them."""
    proxy.start(fleet.addresses)
    browser = Browser(users, proxy.url)
    for number in range(4):
        browser.jar[f"large{number}"] = secrets.token_hex(2000)

    browser.open()

    assert len(browser.token) > 16384
    assert sum(fleet.connected()) == 1
