"""Servers and proxies are replaced under their users, who keep what they have open."""

from __future__ import annotations

import pytest

from tests.lab.bokeh_servers import wait_until
from tests.lab.websocket_user import User, Users
from tests.proxies.browser import Browser
from tests.proxies.fleet import Fleet
from tests.proxies.programs import Proxy

pytestmark = pytest.mark.slow


Guest = tuple[Browser, User]


def guest_of(number: int, proxy: Proxy, fleet: Fleet, users: Users) -> Guest:
    """A new user of one of the servers; those who come to another one leave."""

    def come() -> Guest | None:
        before, browser = fleet.connected()[number], Browser(users, proxy.url)
        user = browser.open()
        if fleet.connected()[number] > before:
            return browser, user
        users.leave(user)
        return None

    guest: Guest = wait_until(come, f"a new user who comes to server {number}")
    return guest


def one_on_each(proxy: Proxy, fleet: Fleet, users: Users) -> list[Guest]:
    """A user of every server, in the order of the servers."""
    return [guest_of(number, proxy, fleet, users) for number in range(len(fleet.servers))]


def test_a_draining_server_keeps_its_users_and_new_ones_go_elsewhere(
    proxy: Proxy, fleet: Fleet, users: Users
) -> None:
    proxy.start(fleet.addresses)
    (browser, user), *_ = one_on_each(proxy, fleet, users)
    built = fleet.created()[0]

    proxy.drain(0)

    for _ in range(4):
        Browser(users, proxy.url).open()
    fleet.await_connected([1, 3, 3])  # once those who came to another server have left
    users.ask(user)
    users.leave(user)
    browser.connect()
    fleet.await_connected([1, 3, 3])
    assert fleet.created()[0] == built
    browser.age(301)
    browser.load()
    assert fleet.created()[0] == built


def test_a_server_that_drains_no_longer_gets_new_users_again(
    proxy: Proxy, fleet: Fleet, users: Users
) -> None:
    proxy.start(fleet.addresses)
    proxy.drain(0)
    proxy.undrain(0)

    for _ in range(3):
        Browser(users, proxy.url).open()

    assert fleet.connected() == [1, 1, 1]


@pytest.mark.timeout(180)
def test_a_rolling_restart_ends_no_session_of_the_other_servers(
    proxy: Proxy, fleet: Fleet, users: Users
) -> None:
    proxy.start(fleet.addresses)
    guests = one_on_each(proxy, fleet, users)

    for number, server in enumerate(fleet.servers):
        proxy.drain(number)
        server.terminate()
        users.ask(guests[number][1])
        users.leave(guests[number][1])
        assert server.exit_code() == 0
        users.leave(Browser(users, proxy.url).open())
        fleet.start_stopped()
        proxy.undrain(number)
        guests[number] = guest_of(number, proxy, fleet, users)
        for _, user in guests:
            users.ask(user)


def test_users_of_a_server_that_is_gone_start_anew_on_another(
    proxy: Proxy, fleet: Fleet, users: Users
) -> None:
    proxy.start(fleet.addresses)
    (browser, user), *others = one_on_each(proxy, fleet, users)
    fleet.stop(0)
    wait_until(lambda: not users.is_connected(user), "the server's user to be cut off")

    browser.connect()
    browser.open()

    there = fleet.servers[1:]
    wait_until(lambda: sum(server.connected() for server in there) == 4, "four users")
    for _, other in others:
        users.ask(other)


def test_a_reload_ends_no_connection(proxy: Proxy, fleet: Fleet, users: Users) -> None:
    proxy.start(fleet.addresses)
    there = one_on_each(proxy, fleet, users)

    proxy.reload()

    Browser(users, proxy.url).open()
    for _, user in there:
        users.ask(user)


SHUTDOWN = {"nginx": "worker_shutdown_timeout 1h;", "haproxy": "hard-stop-after 1h"}


def test_a_proxy_that_is_told_to_go_does_not_stay_forever(
    proxy: Proxy, fleet: Fleet, users: Users
) -> None:
    shipped = SHUTDOWN[proxy.name]
    proxy.start(fleet.addresses, {shipped: shipped.replace("1h", "1s")})
    Browser(users, proxy.url).open()

    proxy.quit()

    wait_until(proxy.has_ended, "the proxy to end")
