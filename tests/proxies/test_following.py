"""As pods, both proxies follow the app's Services through DNS: cordons, new pods, pods that go."""

from __future__ import annotations

import pytest

from tests.lab.bokeh_servers import wait_until
from tests.lab.websocket_user import User, Users
from tests.proxies.browser import Browser
from tests.proxies.fleet import Fleet
from tests.proxies.name_server import NameServer
from tests.proxies.programs import Proxy

pytestmark = pytest.mark.slow


def await_new_users_on(wanted: list[int], proxy: Proxy, fleet: Fleet, users: Users) -> None:
    """Load pages until ten in a row are built by these servers, and by each of them."""

    def only_there() -> bool:
        before = fleet.created()
        for _ in range(10):
            Browser(users, proxy.url).load()
        built = [n for n, count in enumerate(fleet.created()) if count > before[n]]
        return built == wanted

    wait_until(only_there, f"new users on {wanted} alone")


def test_cordoned_pods_keep_their_users_and_get_no_new_ones(
    proxy: Proxy, name_server: NameServer, fleet: Fleet, users: Users
) -> None:
    name_server.start(fleet.addresses, fleet.addresses)
    proxy.follow(name_server.resolv_conf)
    await_new_users_on([0, 1, 2], proxy, fleet, users)
    guests: list[tuple[Browser, User]] = []
    while 0 in fleet.connected():
        browser = Browser(users, proxy.url)
        guests.append((browser, browser.open()))
    there = fleet.connected()

    name_server.publish(fleet.addresses[2:], fleet.addresses)
    await_new_users_on([2], proxy, fleet, users)

    built = fleet.created()
    for browser, user in guests:
        users.ask(user)
        users.leave(user)
        browser.age(3600)
    back = [browser.connect() for browser, _ in reversed(guests)]
    assert fleet.created() == built
    assert fleet.connected() == there

    for user in back:  # who else is there decides where HAProxy sends new users
        users.leave(user)
    name_server.publish(fleet.addresses, fleet.addresses)
    await_new_users_on([0, 1, 2], proxy, fleet, users)


def test_each_user_costs_one_session_on_pods_too(
    proxy: Proxy, name_server: NameServer, fleet: Fleet, users: Users
) -> None:
    name_server.start(fleet.addresses, fleet.addresses)
    proxy.follow(name_server.resolv_conf)
    await_new_users_on([0, 1, 2], proxy, fleet, users)
    before = sum(fleet.created())

    for _ in range(12):
        Browser(users, proxy.url).open()

    assert sum(fleet.created()) == before + 12
    assert sum(fleet.connected()) == 12


def test_users_of_a_pod_that_is_gone_start_anew_on_another(
    proxy: Proxy, name_server: NameServer, fleet: Fleet, users: Users
) -> None:
    name_server.start(fleet.addresses[:1], fleet.addresses)
    proxy.follow(name_server.resolv_conf)
    await_new_users_on([0], proxy, fleet, users)
    browser = Browser(users, proxy.url)
    users.leave(browser.open())

    name_server.publish(fleet.addresses[1:], fleet.addresses[1:])

    def connects_elsewhere() -> bool:
        user = browser.connect()
        there = fleet.connected()
        users.leave(user)
        return there[0] == 0 and sum(there) == 1

    wait_until(connects_elsewhere, "the page to reconnect to another pod")


def test_an_outage_of_the_name_server_ends_no_session_and_is_over_with_it(
    proxy: Proxy, name_server: NameServer, fleet: Fleet, users: Users
) -> None:
    name_server.start(fleet.addresses, fleet.addresses)
    proxy.follow(name_server.resolv_conf)
    await_new_users_on([0, 1, 2], proxy, fleet, users)
    user = Browser(users, proxy.url).open()

    name_server.stop()
    if proxy.name == "haproxy":  # nginx forgets what it knew after a second
        for _ in fleet.servers:
            users.leave(Browser(users, proxy.url).open())
    name_server.start(fleet.addresses[:1], fleet.addresses)

    await_new_users_on([0], proxy, fleet, users)
    users.ask(user)


def test_a_proxy_that_is_told_to_go_stays_until_its_users_have_left(
    proxy: Proxy, name_server: NameServer, fleet: Fleet, users: Users
) -> None:
    name_server.start(fleet.addresses, fleet.addresses)
    proxy.follow(name_server.resolv_conf)
    await_new_users_on([0, 1, 2], proxy, fleet, users)
    user = Browser(users, proxy.url).open()

    proxy.quit()

    wait_until(lambda: not proxy.listens(), "the proxy to take nobody new")
    users.ask(user)
    users.leave(user)
    wait_until(proxy.has_ended, "the proxy to end", 40)  # HAProxy: 10 s, when CoreDNS hangs up
